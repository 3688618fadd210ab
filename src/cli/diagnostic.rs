//! What is said of a line of a file, in several forms. In: rejections, notes and warnings. Out: text with the line and a caret, SARIF, or
//! an annotation of a workflow of GitHub.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;
use serde_json::{Value, json};

use crate::kind::note::Note;
use crate::snapshot::{Location, ObjectRef, Rejection};
use crate::source::NO_FIELD;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiagnosticLevel {
    /// The object is rejected.
    Error,
    /// It may not be meant.
    Warning,
    /// Routes are lost.
    Note,
}

impl DiagnosticLevel {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What is said of a line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    level: DiagnosticLevel,
    /// From the closed list of rejections.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ObjectRef>,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    message: String,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<DiagnosticPlace>,
}

/// File, line and column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiagnosticPlace {
    #[serde(flatten)]
    at: Location,
    /// In characters, from 1; absent where the line is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl DiagnosticPlace {
    fn of(at: Location) -> Self {
        Self { at, column: None }
    }

    /// File and line.
    pub fn line(&self) -> &Location {
        &self.at
    }
}

/// The result of a validation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// Objects, the rejected ones included.
    pub objects: usize,
    /// Objects that are rejected.
    pub rejected: usize,
    /// Everything that is said.
    pub diagnostics: Vec<Diagnostic>,
}

impl Diagnostic {
    /// Without an object; `file` with the line.
    pub fn new(level: DiagnosticLevel, file: Option<(&str, u64)>, field: &str, message: String) -> Self {
        let location = file.map(|(file, line)| DiagnosticPlace::of(Location { file: file.to_owned(), line }));
        Self { level, reason: None, object: None, field: field.to_owned(), message, location }
    }

    /// Of a rejection.
    pub fn rejection(rejection: &Rejection) -> Self {
        let Rejection { object, reason, location, field, message } = rejection.clone();
        let (level, reason) = (DiagnosticLevel::Error, Some(reason.as_str()));
        let location = location.map(DiagnosticPlace::of);
        Self { level, reason, object: Some(object), field, message, location }
    }

    /// Of a note.
    pub fn note(note: &Note, location: Option<Location>) -> Self {
        let Note { object, field, message, .. } = note.clone();
        let location = location.map(DiagnosticPlace::of);
        Self { level: DiagnosticLevel::Note, reason: None, object: Some(object), field, message, location }
    }

    /// Moves it to the line of its field, which `line_of` has for file, line of the object and field: a plan knows the object alone.
    pub fn move_to_field(&mut self, line_of: impl FnOnce(&str, u64, &str) -> Option<u64>) {
        if let Some(place) = self.location.as_mut().filter(|_| !self.field.is_empty())
            && let Some(line) = line_of(&place.at.file, place.at.line, &self.field)
        {
            place.at.line = line;
        }
    }

    /// The column of the field in its line of a text, if that is shown: of the line as it is, not as values are masked in it.
    pub fn column_in(&self, text: Option<&str>) -> Option<usize> {
        let (marked, span) = marked_line(self, text)?;
        let line = line_of(self, text)?;
        let of_key = position(line, &self.field).filter(|_| marked != line);
        let before = of_key.map_or_else(|| marked.get(..span.start), |key| line.get(..key.start))?;
        Some(before.chars().count() + 1)
    }

    /// Sets the column.
    pub fn set_column(&mut self, column: Option<usize>) {
        if let Some(place) = &mut self.location {
            place.column = column;
        }
    }

    /// It is of a field that does not exist: its value may be anything, such as a password.
    pub fn is_of_unknown_field(&self) -> bool {
        self.message.starts_with(NO_FIELD)
    }

    /// `object: field: message`
    fn sentence(&self) -> String {
        let object = self.object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default();
        let field = if self.field.is_empty() { String::new() } else { format!("{}: ", self.field) };
        format!("{object}{field}{}", self.message)
    }
}

/// The diagnostic with its line, if `text` is that of its file.
pub fn snippet(diagnostic: &Diagnostic, text: Option<&str>) -> String {
    let level = match diagnostic.level {
        DiagnosticLevel::Error => Level::ERROR,
        DiagnosticLevel::Warning => Level::WARNING,
        DiagnosticLevel::Note => Level::NOTE,
    };
    let title = level.primary_title(diagnostic.sentence());
    let Some(DiagnosticPlace { at, .. }) = &diagnostic.location else {
        return format!("{}: {}", diagnostic.level.as_str(), diagnostic.sentence());
    };
    let Some((line, span)) = marked_line(diagnostic, text) else {
        return format!("{}: {}\n  --> {at}", diagnostic.level.as_str(), diagnostic.sentence());
    };
    let annotation = AnnotationKind::Primary.span(span);
    let index = usize::try_from(at.line).unwrap_or_default();
    let group = title.element(Snippet::source(&line).line_start(index).path(&at.file).annotation(annotation));
    Renderer::plain().render(&[group])
}

/// The line of a diagnostic.
fn line_of<'a>(diagnostic: &Diagnostic, text: Option<&'a str>) -> Option<&'a str> {
    let index = usize::try_from(diagnostic.location.as_ref()?.at.line).ok()?.checked_sub(1)?;
    text?.lines().nth(index).filter(|line| !line.is_empty())
}

/// The line of a diagnostic as it is shown, and where its mark is.
fn marked_line(diagnostic: &Diagnostic, text: Option<&str>) -> Option<(String, Range<usize>)> {
    let line = line_of(diagnostic, text)?;
    if diagnostic.is_of_unknown_field() {
        return Some(key_alone(line, &diagnostic.field));
    }
    let line = shown(line, &diagnostic.field);
    let span = span(&line, &diagnostic.field);
    Some((line, span))
}

/// The line up to the key of a field, without values, and where the key is. The values of fields that do not exist may be
/// anything.
fn key_alone(line: &str, field: &str) -> (String, Range<usize>) {
    let key = last_key(field);
    let before = position(line, field).and_then(|found| keys_of(line.get(..found.start)?));
    let before =
        before.unwrap_or_else(|| line.get(..line.len() - line.trim_start().len()).unwrap_or_default().to_owned());
    (format!("{before}{key}: …"), before.len()..before.len() + key.len())
}

/// The beginning of a line with `…` for each value; `None` where a value may have any characters, as in quotes.
fn keys_of(line: &str) -> Option<String> {
    if line.contains(['"', '\'', '#']) {
        return None;
    }
    let (values, rest) = line.rsplit_once(',').map_or((None, line), |(values, rest)| (Some(values), rest));
    let mut shown = String::new();
    for part in values.into_iter().flat_map(|values| values.split(',')) {
        match part.rsplit_once(": ") {
            Some((keys, _)) => shown.extend([keys, ": …,"]),
            None => shown.push_str("…,"),
        }
    }
    // Nothing but keys, brackets and the marks of items.
    let is_structure = rest.trim_end().is_empty() || rest.trim_end().ends_with([':', '{', '[', '-']);
    is_structure.then(|| shown + rest)
}

/// Where the key of a field is in a line, its parents before it. They may be in lines above.
fn position(line: &str, field: &str) -> Option<Range<usize>> {
    let keys = field.split(['.', '[']).filter(|key| !key.ends_with(']') && !key.is_empty());
    let (parents, last) = match (last_key(field), keys.collect::<Vec<_>>()) {
        ("", _) => return None,
        (last, keys) => (keys, last),
    };
    let parents = parents.strip_suffix(&[last]).unwrap_or(&parents);
    let begin = parents.iter().fold(0, |begin, key| key_after(line, begin, key).map_or(begin, |found| found.end));
    key_after(line, begin, last).or_else(|| key_after(line, 0, last))
}

/// Where a key is after a place in a line, with its quotes and without its colon.
fn key_after(line: &str, begin: usize, key: &str) -> Option<Range<usize>> {
    let rest = line.get(begin..)?;
    let forms = [format!("{key}:"), format!("\"{key}\":"), format!("'{key}':")];
    let found = forms.iter().find_map(|form| {
        let is_whole = |at: &usize| {
            rest[..*at].chars().next_back().is_none_or(|c| c.is_whitespace() || matches!(c, '{' | '[' | ','))
        };
        let at = rest.match_indices(form.as_str()).map(|(at, _)| at).find(is_whole)?;
        Some((at, form))
    });
    found.map(|(at, form)| begin + at..begin + at + form.len() - 1)
}

/// The last key of a path. One with a dot is in brackets, where an index is a number.
fn last_key(field: &str) -> &str {
    let in_brackets = field.strip_suffix(']').and_then(|field| field.rsplit_once('[')).map(|(_, key)| key);
    let is_key = |key: &&str| !key.bytes().all(|b| b.is_ascii_digit());
    in_brackets.filter(is_key).unwrap_or_else(|| field.rsplit('.').next().unwrap_or_default())
}

/// The line, without what may be a password.
fn shown(line: &str, field: &str) -> String {
    let names_a_secret = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.contains("passw") || text.contains("secret") || text.contains("stringdata")
    };
    match line.split_once(':') {
        Some((key, _)) if names_a_secret(line) || names_a_secret(field) => format!("{key}: …"),
        None if names_a_secret(line) || names_a_secret(field) => "…".to_owned(),
        _ => line.to_owned(),
    }
}

/// The value of a field in a line, of an item of a list that item; its key where the value is below it; else the line.
fn span(line: &str, field: &str) -> Range<usize> {
    let begin = line.len() - line.trim_start().len();
    let all = begin..line.trim_end().len().max(begin + 1).min(line.len());
    let path = field.rsplit_once('[').filter(|(_, index)| index.trim_end_matches(']').parse::<usize>().is_ok());
    let Some(found) = position(line, path.map_or(field, |(list, _)| list)) else { return all };
    let (at, after) = (found.start, found.end + 1);
    let rest = line.get(after..).unwrap_or_default();
    let begin = after + rest.len() - rest.trim_start().len();
    let value = line.get(begin..).unwrap_or_default();
    let closing =
        |c: char| if value.starts_with(['{', '[']) { c == '}' || c == ']' } else { matches!(c, ',' | '}' | ']' | '#') };
    let end = value.find(closing).map_or(value.len(), |end| if value.starts_with(['{', '[']) { end + 1 } else { end });
    let length = value.get(..end).unwrap_or(value).trim_end().len();
    if length == 0 {
        return at..after - 1;
    }
    let index = field.strip_suffix(']').and_then(|field| field.rsplit_once('[')?.1.parse().ok());
    let item = index.and_then(|index| item_of_list(line.get(begin..begin + length)?, index));
    item.map_or(begin..begin + length, |item| begin + item.start..begin + item.end)
}

/// Where an item is in a list in brackets of plain values.
fn item_of_list(list: &str, index: usize) -> Option<Range<usize>> {
    let inside = list.strip_prefix('[')?.strip_suffix(']').filter(|inside| !inside.contains(['[', '{']))?;
    let item = inside.split(',').nth(index)?;
    let text = item.trim();
    let begin = 1 + inside.split(',').take(index).map(|before| before.len() + 1).sum::<usize>();
    let begin = begin + item.len() - item.trim_start().len();
    (!text.is_empty()).then(|| begin..begin + text.len())
}

/// SARIF 2.1.0, one run.
pub fn sarif(validation: &Validation) -> Value {
    let result = |diagnostic: &Diagnostic| {
        let rule = diagnostic.reason.unwrap_or(diagnostic.level.as_str());
        let mut result = json!({
            "ruleId": rule, "level": diagnostic.level.as_str(), "message": { "text": diagnostic.sentence() },
        });
        if let Some(DiagnosticPlace { at, column }) = &diagnostic.location {
            result["locations"] = json!([{ "physicalLocation": {
                "artifactLocation": { "uri": at.file }, "region": { "startLine": at.line.max(1) } } }]);
            if let Some(column) = column {
                result["locations"][0]["physicalLocation"]["region"]["startColumn"] = json!(column);
            }
        }
        result
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "perouter", "version": env!("CARGO_PKG_VERSION") } },
            "columnKind": "unicodeCodePoints",
            "results": validation.diagnostics.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

/// A workflow command of GitHub, with its line end.
pub fn github(diagnostic: &Diagnostic) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let level = match diagnostic.level {
        DiagnosticLevel::Error => "error",
        DiagnosticLevel::Warning => "warning",
        DiagnosticLevel::Note => "notice",
    };
    let at = diagnostic.location.as_ref().map(|DiagnosticPlace { at, column }| {
        let column = column.map(|column| format!(",col={column}")).unwrap_or_default();
        format!(" file={},line={}{column}", property(&at.file), at.line)
    });
    format!("::{level}{}::{}\n", at.unwrap_or_default(), data(&diagnostic.sentence()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn diagnostic(line: u64, field: &str) -> Diagnostic {
        Diagnostic::new(DiagnosticLevel::Error, Some(("a,b.yaml", line)), field, "0 is less than 1:\n100%".to_owned())
    }

    #[rstest]
    #[case("  vni: 0", "spec.vni", "0")]
    #[case("  vni: 0 # none", "spec.vni", "0")]
    #[case("spec: {asn: 1, vni: 0}", "spec.vni", "0")]
    #[case("- {address: 10.0.0.1, asn: x}", "spec.neighbors[0].asn", "x")]
    #[case("  nics: [a, b]", "spec.nics", "[a, b]")]
    #[case("  nics: [a, b]", "spec.nics[1]", "b")]
    #[case("  gatewayIPs: [ '10.0.0.1/24' , 10.0.1.1/24, 10.0.2.1/24 ]", "spec.gatewayIPs[2]", "10.0.2.1/24")]
    #[case("  nics: [a, b]", "spec.nics[2]", "[a, b]")]
    #[case("  neighbors: [{asn: 1, port: 2}, {asn: 3}]", "spec.neighbors[1]", "[{asn: 1, port: 2}")]
    #[case("  localcidr:", "spec.localcidr", "localcidr")]
    #[case(r#"{"vni": 0}"#, "spec.vni", "0")]
    #[case("  - 10.0.0.0/8", "spec.x[0]", "- 10.0.0.0/8")]
    #[case("kind: L3Vni", "", "kind: L3Vni")]
    #[case("spec: {asn: 0, hostSession: {asn: 2}}", "spec.hostSession.asn", "2")]
    #[case("spec: {hostasn: 0, asn: 2}", "spec.asn", "2")]
    fn the_caret_is_below_the_value(#[case] line: &str, #[case] field: &str, #[case] expected: &str) {
        assert_eq!(&line[span(line, field)], expected);
    }

    #[test]
    fn a_line_is_shown_with_a_caret_and_never_a_password() {
        let shown = snippet(&diagnostic(2, "spec.vni"), Some("spec:\n  vni: 0\n"));
        assert!(shown.starts_with("error: spec.vni: 0 is less than 1:"), "{shown}");
        assert!(
            shown.contains("a,b.yaml:2:8") && shown.contains("2 |   vni: 0\n") && shown.ends_with("       ^"),
            "{shown}"
        );
        let hidden = snippet(&diagnostic(1, "spec.password"), Some("password: hunter2\n"));
        assert!(hidden.contains("1 | password: …") && !hidden.contains("hunter2"), "{hidden}");
        let without = snippet(&diagnostic(9, "spec.vni"), Some("spec:\n"));
        assert!(without.ends_with("\n  --> a,b.yaml:9"), "{without}");
    }

    #[rstest]
    #[case("  - vpn: hunter2", "spec.vpn", "vpn")]
    #[case("{\"spec\": {\"vpn\": 1}}", "spec.vpn", "vpn")]
    #[case("    a.b/c: 1", "spec.labels[a.b/c]", "a.b/c")]
    #[case("    vpn: 1", "spec.neighbors[3].vpn", "vpn")]
    fn the_caret_of_an_unknown_field_is_below_its_name(
        #[case] line: &str,
        #[case] field: &str,
        #[case] expected: &str,
    ) {
        let (shown, span) = key_alone(line, field);
        assert_eq!(&shown[span], expected);
        let unknown = Diagnostic { message: format!("{NO_FIELD}: did you mean vrf?"), ..diagnostic(1, field) };
        let text = snippet(&unknown, Some(line));
        let (key, caret) = (text.lines().rev().nth(1).unwrap(), text.lines().last().unwrap());
        assert_eq!(key.find(expected), caret.find('^'), "{text}");
        assert_eq!(caret.matches('^').count(), expected.len(), "{text}");
    }

    #[rstest]
    #[case("  hostSession: {asn: 1}", "spec.hostSession.asn", "  hostSession: {asn: …")]
    #[case("  x: {pw: hunter2, b: [hunter2, c], asn: 1}", "spec.x.asn", "  x: {pw: …, b: …,…, asn: …")]
    #[case("  - vpn: 1", "spec.x[0].vpn", "  - vpn: …")]
    #[case("  x: {pw: 'a, asn: 1', asn: 1}", "spec.x.asn", "  asn: …")]
    #[case("  x: {pw: a:hunter2, asn: 1}", "spec.x.asn", "  x: {pw: …, asn: …")]
    fn of_the_line_of_an_unknown_field_the_keys_are_shown(
        #[case] line: &str,
        #[case] field: &str,
        #[case] expected: &str,
    ) {
        let (shown, span) = key_alone(line, field);
        assert_eq!((shown.as_str(), &shown[span]), (expected, last_key(field)));
    }

    /// The column is that of the line as it is, and what is shown of it is masked.
    #[test]
    fn a_column_does_not_depend_on_what_is_masked() {
        let mut unknown = diagnostic(1, "spec.asn");
        unknown.message = format!("{NO_FIELD}: x");
        let line = "spec: {pw: hunter2, asn: 1}";
        assert_eq!(unknown.column_in(Some(line)), line.find("asn").map(|start| start + 1));
    }

    #[test]
    fn machines_have_their_forms() {
        assert_eq!(
            github(&diagnostic(2, "spec.vni")),
            "::error file=a%2Cb.yaml,line=2::spec.vni: 0 is less than 1:%0A100%25\n"
        );
        let diagnostics =
            vec![diagnostic(2, "spec.vni"), Diagnostic::new(DiagnosticLevel::Warning, None, "", "x".into())];
        let report = sarif(&Validation { objects: 1, rejected: 1, diagnostics });
        let results = &report["runs"][0]["results"];
        assert_eq!(
            (&report["version"], &results[0]["level"], &results[1]["level"]),
            (&"2.1.0".into(), &"error".into(), &"warning".into())
        );
        assert_eq!(results[0]["locations"][0]["physicalLocation"]["region"], json!({"startLine": 2}));
        let mut with_column = diagnostic(2, "spec.vni");
        with_column.set_column(with_column.column_in(Some("spec:\n  vni: 0\n")));
        assert!(github(&with_column).starts_with("::error file=a%2Cb.yaml,line=2,col=8::"));
        let report = sarif(&Validation { objects: 1, rejected: 1, diagnostics: vec![with_column] });
        let place = &report["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["region"], json!({"startLine": 2, "startColumn": 8}));
        assert_eq!(results[1]["locations"], Value::Null);
    }
}
