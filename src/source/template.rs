//! Expressions of templates that nobody rendered. In: a text that is not YAML, or a value that is not valid. Out: what it is and the
//! remedy. A text that is valid is none of its business.

use serde_json::Value;

use super::messages::{NO_FIELD, Violation, value_at};

/// An expression that is not rendered, or what is left of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    /// Of Go and Jinja.
    Braces,
    /// A statement of Jinja.
    Statement,
    /// Of a shell or `envsubst`.
    Dollar,
    /// Of a shell, without braces.
    Variable,
    /// What Go renders for a value that is not set.
    NoValue,
}

impl Template {
    /// That of a line of a text or of a value.
    fn of(text: &str) -> Option<Self> {
        let has = |begin: &str, end: &str| text.split_once(begin).is_some_and(|(_, rest)| rest.contains(end));
        if has("{{", "}}") {
            Some(Self::Braces)
        } else if has("{%", "%}") {
            Some(Self::Statement)
        } else {
            None
        }
    }

    fn of_value(text: &str) -> Option<Self> {
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let rest = || text.split_once("${").map(|(_, rest)| rest);
        match () {
            () if text.contains("<no value>") => Some(Self::NoValue),
            () if rest().is_some_and(|rest| rest.contains('}')) => Some(Self::Dollar),
            () if text.strip_prefix('$').is_some_and(is_name) => Some(Self::Variable),
            () => Self::of(text),
        }
    }

    /// What it is, and the remedy.
    pub(super) fn message(self) -> String {
        let expression = match self {
            Self::NoValue => {
                return "<no value> is what a template gives for a value that is not set: set it where the template is rendered"
                    .to_owned();
            }
            Self::Braces => "{{ … }}",
            Self::Statement => "{% … %}",
            Self::Dollar => "${…}",
            Self::Variable => "$NAME",
        };
        format!(
            "has template expressions ({expression}) that are not rendered: validate what the template gives, such as that of \
             `helm template`"
        )
    }
}

/// The first line of a text with an expression that is not in a comment.
pub(super) fn in_text(text: &str) -> Option<(u64, Template)> {
    let code = |line: &str| {
        let code = line.split(" #").next().unwrap_or_default().to_owned();
        Some(code).filter(|code| !code.trim_start().starts_with('#'))
    };
    (1..).zip(text.lines()).find_map(|(number, line)| Some((number, Template::of(&code(line)?)?)))
}

/// The violation of a value that is an expression says so. The value is not repeated: it may be that of a password.
pub(super) fn explained(violation: Violation, object: &Value) -> Violation {
    let value = value_at(object, &violation.field).and_then(Value::as_str);
    match value.and_then(Template::of_value) {
        Some(template) if !violation.message.starts_with(NO_FIELD) => {
            Violation { message: template.message(), ..violation }
        }
        _ => violation,
    }
}
