//! One line of FRR configuration. In: text of ours or of FRR. Out: words, the text that is sent, and a `Display` and
//! `Debug` in which a password is masked: a line can go to a log or a plan, its [`Line::send`] must not. Pure.

use std::fmt;
use std::sync::Arc;

/// What stands in place of a password.
const MASK: &str = "********";

/// A line without leading blanks, words parted by one blank. Shared, as a change carries the stanza that it is in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line(Arc<str>);

impl Line {
    /// Takes a line; blanks are normalised.
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

    /// The words from `n` on, or `None` if the line starts otherwise than `first`.
    pub fn after<'a>(&'a self, first: &str) -> Option<&'a str> {
        self.0.strip_prefix(first)?.strip_prefix(' ')
    }

    /// Byte range of the password, if the line has one.
    fn secret(&self) -> Option<usize> {
        let at = self.0.find(" password ")? + " password ".len();
        (self.0.starts_with("neighbor ") || self.0.starts_with("no neighbor ")).then_some(at)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.secret().and_then(|at| self.0.get(..at)) {
            Some(clear) => write!(f, "{clear}{MASK}"),
            None => f.write_str(&self.0),
        }
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
