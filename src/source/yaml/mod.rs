//! YAML with line numbers. In: the text of a file. Out: its documents as JSON values with the line of every field, and for a
//! document that is not YAML the line and the reason. Values are those that kubectl would send, or the document is rejected.
//! It must not know Kubernetes otherwise: the lab reads its topologies with it.
//!
//! `split_documents` splits a file before its documents are parsed, so that a syntax error invalidates its own document only.
//! That is safe: `---` at the start of a line is a document marker in every context (YAML 1.2.2, production
//! `c-forbidden`).

mod build;
mod node;
mod scalar;

pub(crate) use self::build::TOO_MANY_FOR_FILE;
pub(crate) use self::node::join_path;
pub use self::node::{SyntaxError, YamlField, YamlNode};

/// Splits a file at its document markers into the text of each document, with the number of lines before it.
pub fn split_documents(text: &str) -> Vec<(u64, &str)> {
    let mut documents = Vec::new();
    let (mut begin, mut begin_line, mut at, mut only_directives) = (0, 0, 0, true);
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        let marker =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        // Directives belong to the document after their marker (YAML 1.2.2 section 9.1.2).
        if marker && !only_directives {
            documents.push((begin_line, text.get(begin..at).unwrap_or_default()));
            (begin, begin_line) = (at, number);
        }
        let blank = line.trim_start().is_empty() || line.trim_start().starts_with('#') || line.starts_with('%');
        only_directives = only_directives && blank && !marker;
        at += line.len();
    }
    documents.push((begin_line, text.get(begin..).unwrap_or_default()));
    documents
}

/// Values of the smallest file, those that aliases repeat included.
const MIN_NODES: usize = 1000;
/// Values without aliases are fewer than the bytes. More are allowed with aliases, but no more than this for each byte: many small
/// files would take as long as many large ones.
const MAX_NODES_PER_BYTE: usize = 4;
/// Values of a file that is not large, at most: half a second. An object has one for eight bytes or more.
const MAX_NODES: usize = 250_000;

/// The values that a file of this size may have in all its documents.
pub fn nodes_of_file(bytes: usize) -> usize {
    bytes.saturating_mul(MAX_NODES_PER_BYTE).saturating_add(MIN_NODES).min(MAX_NODES.max(bytes / 4))
}

/// Parses the text of a whole file. Documents without a value, such as a comment, are skipped.
///
/// # Errors
/// If the text is not YAML.
pub fn parse(text: &str) -> Result<Vec<YamlNode>, SyntaxError> {
    parse_within(&mut nodes_of_file(text.len()), text)
}

/// Parses the text of one document, where the documents of a file together may have this many values.
///
/// # Errors
/// If the text is not YAML, or has more values than are left.
pub fn parse_within(left: &mut usize, text: &str) -> Result<Vec<YamlNode>, SyntaxError> {
    let mut documents = build::documents(text, left)?;
    documents.retain(|node| !node.is_null());
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn values(text: &str) -> Vec<Value> {
        parse(text).unwrap().iter().map(YamlNode::to_value).collect()
    }

    #[rstest]
    #[case::yaml("a: on\nb: 0x10\nc: 1e3\nd: 12:30:45\ne: ~\n", vec![json!({"a": true, "b": 16, "c": 1000, "d": "12:30:45", "e": null})])]
    #[case::quoted("a: 'on'\nb: \"010\"\nc: !!str 1\nd: |\n  yes\n", vec![json!({"a": "on", "b": "010", "c": "1", "d": "yes\n"})])]
    #[case::keys("1: a\nyes: b\n'no': c\n", vec![json!({"1": "a", "true": "b", "no": "c"})])]
    #[case::merged_list("a: {<<: [{q: 1}, {q: 2, r: 2}], r: 3}\n", vec![json!({"a": {"q": 1, "r": 3}})])]
    #[case::merge_key_in_quotes("a: {'<<': 1}\n", vec![json!({"a": {"<<": 1}})])]
    #[case::json_with_tabs("{\n\t\"a\": 1,\n\t\"b\": [\n\t\t2\n\t]\n}\n", vec![json!({"a": 1, "b": [2]})])]
    #[case::merge_key("a: &x {q: 1}\nb: {<<: *x, r: 2}\n", vec![json!({"a": {"q": 1}, "b": {"q": 1, "r": 2}})])]
    #[case::byte_order_mark("\u{feff}a: 1\n", vec![json!({"a": 1})])]
    #[case::end_marker("a: 1\n...\nb: 2\n", vec![json!({"a": 1}), json!({"b": 2})])]
    #[case::comment("# only\n", vec![])]
    #[case::nothing("", vec![])]
    #[case::null("---\nnull\n", vec![])]
    fn values_are_those_of_kubectl(#[case] text: &str, #[case] wanted: Vec<Value>) {
        assert_eq!(values(text), wanted);
    }

    #[rstest]
    #[case("a: [1, 2\nb: 3\n", 2, "illegal placement of ':' indicator")]
    #[case("a:\n\t- x\n", 2, "tabs disallowed within this context (block indentation)")]
    #[case("spec:\n    vni: 1\n   vrf: x\n", 3, "while parsing a block mapping, did not find expected key")]
    #[case("a: *b\n", 1, "while parsing node, found unknown anchor")]
    #[case("a: &b [*b]\n", 1, "an anchor contains an alias of itself")]
    #[case("x: 1\na: {q: 1, <<: {q: 2}}\n", 2, "<< after q: write << first")]
    #[case("a: {<<: 1}\n", 1, "the value of << is neither a mapping nor a list of mappings")]
    #[case("~: a\n", 1, "null is not a key")]
    #[case("[a]: b\n", 1, "a key must be a scalar")]
    #[case("a: !!int '1'\n", 1, "the tag !!int is not supported: remove it")]
    #[case("a: !hunter2\n", 1, "a tag that begins with ! is not supported: remove it, or put the value in quotes")]
    #[case("a: .inf\n", 1, "JSON has no such number")]
    #[case("a: 1\nb: [\n", 2, "unclosed bracket '['")]
    fn a_syntax_error_has_its_line(#[case] text: &str, #[case] line: u64, #[case] message: &str) {
        assert_eq!(parse(text).unwrap_err(), SyntaxError { line, message: message.to_owned(), first: None });
    }

    #[rstest]
    #[case("a: 1\na: 2\n", 1, 2, "a")]
    #[case("1: a\n'1': b\n", 1, 2, "1")]
    #[case("x: 1\na:\n  q: 1\n  r: 2\n  q: 3\n", 3, 5, "q")]
    #[case("x: &x {q: 1}\na:\n  <<: *x\n  <<: *x\n", 3, 4, "<<")]
    fn a_key_that_occurs_twice_has_both_lines(
        #[case] text: &str,
        #[case] first: u64,
        #[case] line: u64,
        #[case] key: &str,
    ) {
        let message = format!("the key {key} occurs twice in one mapping");
        assert_eq!(parse(text).unwrap_err(), SyntaxError { line, message, first: Some(first) });
    }

    #[rstest]
    #[case("b[0].x", 3)]
    #[case("b[1]", 5)]
    #[case("b[0].w.k[9].z", 4)]
    #[case("c.q", 6)]
    #[case("labels[a.b/c]", 8)]
    #[case("labels[a.d/c]", 7)]
    #[case("nothing", 1)]
    fn a_missing_field_has_the_line_of_its_parent(#[case] path: &str, #[case] line: u64) {
        let text = "a: 1\nb:\n  - x: 1\n    w: {k: [1]}\n  - z\nc: {q: 1}\nlabels:\n  a.b/c: d\n";
        assert_eq!(parse(text).unwrap()[0].line_of(path), line);
    }

    #[test]
    fn a_node_has_its_line_and_a_field_that_of_its_key() {
        let nodes = parse("name: kind\ntopology:\n  nodes:\n    a:\n      binds:\n        - x:/x\n    b:\n").unwrap();
        let top = nodes[0].fields().unwrap();
        assert_eq!((top[0].line, top[0].value.line), (1, 1));
        let nodes = nodes[0].get("topology").and_then(|topology| topology.get("nodes")).unwrap();
        let fields = nodes.fields().unwrap();
        assert_eq!((fields[0].line, fields[0].key.as_str()), (4, "a"));
        assert_eq!((fields[1].line, fields[1].key.as_str()), (7, "b"));
        assert!(fields[1].value.is_null());
        let bind = &fields[0].value.get("binds").unwrap().items().unwrap()[0];
        assert_eq!((bind.line, bind.text()), (6, Some("x:/x")));
    }

    #[test]
    fn a_file_is_split_at_its_markers() {
        let text = "%YAML 1.2\n---\na: 1\n--- # x\nb: 2\n---\n---\nc: |\n  --- no\n----\n";
        let parts =
            [(0, "%YAML 1.2\n---\na: 1\n"), (3, "--- # x\nb: 2\n"), (5, "---\n"), (6, "---\nc: |\n  --- no\n----\n")];
        assert_eq!(split_documents(text), parts);
    }

    #[test]
    fn nesting_and_aliases_have_limits() {
        let nested = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        let message = "lists and mappings are nested deeper than 64 levels";
        assert_eq!(parse(&nested).unwrap_err(), SyntaxError { line: 1, message: message.to_owned(), first: None });
        let bomb: String = ('b'..='z').fold("a: &a [x, x, x, x]\n".to_owned(), |text, name| {
            let before = char::from(name as u8 - 1);
            text + &format!("{name}: &{name} [*{before}, *{before}, *{before}, *{before}]\n")
        });
        assert_eq!(parse(&bomb).unwrap_err().message, TOO_MANY_FOR_FILE);
        let message = "more than 250000 values: split the file or remove aliases";
        assert_eq!(parse(&format!("{bomb}#{}", " ".repeat(1 << 20))).unwrap_err().message, message);
    }

    proptest::proptest! {
        #[test]
        fn the_documents_add_up_to_the_file(text in "(---\n|a: 1\n|%Y\n|# c\n|\n|--- b\r\n|x){0,12}") {
            let parts = split_documents(&text);
            proptest::prop_assert_eq!(parts.iter().map(|(_, part)| *part).collect::<String>(), text.clone());
            for (before, part) in parts {
                let at = part.as_ptr() as usize - text.as_ptr() as usize;
                proptest::prop_assert_eq!(text[..at].matches('\n').count() as u64, before);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-a: \n\t\\[\\]{}&*!|>'\"%#?,]{0,40}") {
            for (_, part) in split_documents(&text) {
                let _ = parse(part);
            }
        }
    }
}
