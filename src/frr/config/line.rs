//! One line of FRR configuration. In: text, rendered or printed by FRR. Out: words, the text that is sent, and a `Display` and
//! `Debug` in which a password is masked: a line may be logged and shown in a plan, its [`Line::send`] must not. Pure.

use std::fmt;
use std::sync::Arc;

use crate::printable::{masked, printable};

/// A line without leading blanks, with one blank between words. Shared, as a change carries the stanza in which it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line(Arc<str>);

impl Line {
    /// A line; blanks are normalised.
    pub fn new(text: &str) -> Self {
        let text = text.trim_ascii();
        if text.contains("  ") || text.contains(|c: char| c.is_ascii_whitespace() && c != ' ') {
            return Self(text.split_ascii_whitespace().collect::<Vec<_>>().join(" ").into());
        }
        Self(text.into())
    }

    /// The text for FRR, with passwords in the clear.
    pub fn send(&self) -> &str {
        &self.0
    }

    /// The words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }

    /// What follows the words `first`; `None` if the line does not begin with them.
    pub fn after<'a>(&'a self, first: &str) -> Option<&'a str> {
        self.0.strip_prefix(first)?.strip_prefix(' ')
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&masked(&self.0)))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_sent_but_not_shown() {
        let line = Line::new("  neighbor 10.0.0.1  password hunter2 ");
        assert_eq!(line.send(), "neighbor 10.0.0.1 password hunter2");
        assert_eq!(format!("{line} {line:?}").matches("hunter2").count(), 0);
        assert_eq!(line.to_string(), "neighbor 10.0.0.1 password ********");
    }
}
