//! Splitting of a command line into words.
//!
//! In: a text. Out: its words; single and double quotes join, a backslash takes the next character as it is. It must not
//! expand anything: there is no shell.

/// The words of a command, or nothing when a quote stays open.
pub fn split(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().push(characters.next()?),
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_join_and_nothing_is_expanded() {
        let table: [(&str, Option<&[&str]>); 6] = [
            ("ip  link set eth1 up", Some(&["ip", "link", "set", "eth1", "up"])),
            (r#"sh -c "echo $HOME 'x y'""#, Some(&["sh", "-c", "echo $HOME 'x y'"])),
            (r#"a\ b '' "q\"q""#, Some(&["a b", "", "q\"q"])),
            ("'it''s'", Some(&["its"])),
            ("", Some(&[])),
            ("sh -c 'x", None),
        ];
        for (command, words) in table {
            let expected = words.map(|words| words.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(split(command), expected, "{command}");
        }
    }
}
