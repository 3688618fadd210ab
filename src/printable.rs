//! Text from outside as it may be shown: on a terminal, in a log line, in JSON, on a page. In: what objects, names of files,
//! peers and FRR supply. Out: the same text without characters that act on what shows it, and without passwords. Pure.

use std::borrow::Cow;
use std::fmt::Write;

/// What is shown instead of a password.
pub const MASK: &str = "********";

/// The text in one line: control characters, line breaks and invisible characters that change the direction of text are
/// written as in JSON, such as `\u001b`.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

/// The same for a text of several lines, such as a table or a JSON document. In JSON these characters occur only in strings,
/// where the result means the same.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c == '\n')
}

/// The same for a line of a log in which colours may be set (`ESC [ … m`, ECMA-48 section 8.3.117).
pub fn printable_colored(line: &str) -> Cow<'_, str> {
    if !line.contains(acts) {
        return line.into();
    }
    let mut text = String::with_capacity(line.len() + 16);
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        let end = after.find(|c: char| !c.is_ascii_digit() && c != ';').filter(|end| after[*end..].starts_with('m'));
        text += &printable(before);
        if let Some((color, after)) = end.and_then(|end| after.split_at_checked(end + 1)) {
            text += "\u{1b}[";
            text += color;
            rest = after;
        } else {
            text += &printable("\u{1b}[");
            rest = after;
        }
    }
    text += &printable(rest);
    text.into()
}

/// Whether a character acts on what shows it.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn escape(text: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let escaped = |c: char| acts(c) && !allowed(c);
    if !text.contains(escaped) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' if escaped(c) => shown += "\\n",
            '\t' if escaped(c) => shown += "\\t",
            // Writing to a string does not fail.
            c if escaped(c) => drop(write!(shown, "\\u{:04x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown.into()
}

/// The text with each password of FRR's command line replaced: `neighbor A password P` in any daemon, the passwords of the vty,
/// keys of a key chain, of OSPF, IS-IS and RIP. A password reaches to the end of its line, as for FRR.
pub fn masked(text: &str) -> Cow<'_, str> {
    if !text.lines().any(|line| secret_at(line).is_some()) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        match secret_at(line).and_then(|at| line.get(..at)) {
            Some(clear) => {
                shown += clear;
                shown += MASK;
            }
            None => shown += line,
        }
        shown += end;
    }
    shown.into()
}

/// Where the password of a line begins. The word alone, as in a message of FRR, begins none.
fn secret_at(line: &str) -> Option<usize> {
    let mut words: [&str; 3] = [""; 3];
    let mut rest = line;
    loop {
        let begin = rest.find(|c: char| !c.is_whitespace())?;
        let word_on = &rest[begin..];
        let length = word_on.find(char::is_whitespace)?;
        words = [words[1], words[2], bare(&word_on[..length])];
        rest = &word_on[length..];
        let secret = rest.find(|c: char| !c.is_whitespace())?;
        if begins_secret(words) {
            return Some(line.len() - rest.len() + secret);
        }
    }
}

/// Whether a password follows these words; the last is the nearest.
fn begins_secret(words: [&str; 3]) -> bool {
    matches!(
        words,
        ["neighbor" | "peer", _, "password"]
            | ["", "", "password"]
            | [_, "enable" | "isis" | "no" | "line:" | "command:", "password"]
            | [_, _, "area-password" | "domain-password" | "key-string" | "authentication-key"]
            | ["message-digest-key", _, "md5"]
            | [_, "authentication", "string"]
    )
}

/// A word without what a message puts around it.
fn bare(word: &str) -> &str {
    word.trim_start_matches(['"', '\'', '`', '(', '[', '%'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("L3VNI red: übel", "L3VNI red: übel")]
    #[case::terminal("\u{1b}[2Jred\u{7}\u{7f}", "\\u001b[2Jred\\u0007\\u007f")]
    #[case::eight_bit_terminal("\u{9b}2J", "\\u009b2J")]
    #[case::second_line("red\n2026-11-28 ERROR forged\r", "red\\n2026-11-28 ERROR forged\\u000d")]
    #[case::direction("a\u{202e}b\u{2066}c\u{200f}", "a\\u202eb\\u2066c\\u200f")]
    #[case::line_separator("a\u{2028}b\u{feff}", "a\\u2028b\\ufeff")]
    fn what_acts_on_a_terminal_is_escaped(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(printable(text), shown);
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({ "name": "a\u{9b}\u{202e}\u{1b}\"\\\n" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = printable_lines(&text);
        assert!(!shown.contains(['\u{9b}', '\u{202e}', '\u{1b}']) && shown.contains('\n'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[rstest]
    #[case("\u{1b}[1;32mINFO\u{1b}[0m red", "\u{1b}[1;32mINFO\u{1b}[0m red")]
    #[case("\u{1b}[2J\u{1b}[31", "\\u001b[2J\\u001b[31")]
    #[case("a\nb", "a\\nb")]
    fn only_colors_are_left_in_a_log(#[case] line: &str, #[case] shown: &str) {
        assert_eq!(printable_colored(line), shown);
    }

    #[rstest]
    #[case("neighbor 10.0.0.1 password P w", "neighbor 10.0.0.1 password ")]
    #[case(" no neighbor eth1 password P", " no neighbor eth1 password ")]
    #[case("% Unknown command: neighbor A  password P", "% Unknown command: neighbor A  password ")]
    #[case("bgpd rejects `neighbor A password P`: x", "bgpd rejects `neighbor A password ")]
    #[case("[X] vty[5]@(config)# \"neighbor A password P\"", "[X] vty[5]@(config)# \"neighbor A password ")]
    #[case("password 8 P", "password ")]
    #[case("enable password P", "enable password ")]
    #[case("  key-string P", "  key-string ")]
    #[case(" ip ospf message-digest-key 1 md5 P", " ip ospf message-digest-key 1 md5 ")]
    #[case(" ip ospf authentication-key P", " ip ospf authentication-key ")]
    #[case(" isis password md5 P", " isis password ")]
    #[case(" area-password clear P", " area-password ")]
    #[case(" ip rip authentication string P", " ip rip authentication string ")]
    #[case(" msdp peer A password P", " msdp peer A password ")]
    fn a_password_is_masked_in_every_form(#[case] line: &str, #[case] clear: &str) {
        assert_eq!(masked(line), format!("{clear}{MASK}"));
        assert_eq!(masked(&format!("a\n{line}\r\nb\n")), format!("a\n{clear}{MASK}\nb\n"));
    }

    #[rstest]
    #[case("no BGP speaker answers: check that both ends have the same password as here")]
    #[case("neighbor 10.0.0.1 description password")]
    #[case("neighbor 10.0.0.1 password")]
    #[case("")]
    fn other_text_is_left_as_it_is(#[case] text: &str) {
        assert_eq!(masked(text), text);
    }
}
