//! Colours of states. In: a word and what it means. Out: the word between two marks without width, which [`plain`] removes and
//! [`colored`] replaces. Text from outside has no marks: they are among the characters that `printable` escapes.

const GOOD: char = '\u{2061}';
const WARNING: char = '\u{2062}';
const BAD: char = '\u{2063}';
const END: char = '\u{2064}';

/// What a state means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Less than it should be.
    Warning,
    /// Broken.
    Bad,
}

impl Tone {
    /// Good or bad.
    pub fn of(is_good: bool) -> Self {
        if is_good { Self::Good } else { Self::Bad }
    }

    /// The word with its marks.
    pub fn mark(self, word: &str) -> String {
        let mark = match self {
            Self::Good => GOOD,
            Self::Warning => WARNING,
            Self::Bad => BAD,
        };
        format!("{mark}{word}{END}")
    }
}

/// Without marks.
pub fn plain(text: &str) -> String {
    text.replace([GOOD, WARNING, BAD, END], "")
}

/// Whether it is a mark.
pub fn is_mark(c: char) -> bool {
    matches!(c, GOOD | WARNING | BAD | END)
}

/// With colours (ECMA-48 section 8.3.117) in place of marks.
pub fn colored(text: &str) -> String {
    let color = |c: char| match c {
        GOOD => "\u{1b}[32m",
        WARNING => "\u{1b}[33m",
        BAD => "\u{1b}[31m",
        _ => "\u{1b}[0m",
    };
    let mut shown = String::with_capacity(text.len() + 32);
    for c in text.chars() {
        if is_mark(c) { shown += color(c) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_colors_or_nothing() {
        let text = format!("{} {}", Tone::Good.mark("ok"), Tone::of(false).mark("Idle"));
        assert_eq!(plain(&text), "ok Idle");
        assert_eq!(colored(&text), "\u{1b}[32mok\u{1b}[0m \u{1b}[31mIdle\u{1b}[0m");
        assert_eq!(crate::printable::printable(&Tone::Bad.mark("x")), "\\u2063x\\u2064");
    }
}
