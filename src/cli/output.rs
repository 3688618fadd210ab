//! What the commands and the log write. In: text. Out: the same on standard output and standard error, without characters that
//! act on a terminal ([`printable`](crate::printable)). Nothing else in `cli` and `main` prints.

use std::io::{self, Write};

use anyhow::Context;

use super::tone;
use crate::printable::{printable, printable_colored, printable_lines};

/// Writes a text to standard output. An output that is closed, as by `head`, is no error; one that is full is.
pub fn out(text: &str) -> anyhow::Result<()> {
    write(&printable_lines(text)).map(drop)
}

/// The same for a text with marks of [`tone`], which become colours or nothing; `false` where the output is closed.
pub fn show(text: &str, colored: bool) -> anyhow::Result<bool> {
    let shown = text.split_inclusive(tone::is_mark).map(|part| match part.char_indices().next_back() {
        Some((at, mark)) if tone::is_mark(mark) => format!("{}{mark}", printable_lines(&part[..at])),
        _ => printable_lines(part).into_owned(),
    });
    let shown: String = shown.collect();
    write(&if colored { tone::colored(&shown) } else { tone::plain(&shown) })
}

/// Clears the screen of a terminal; `false` where the output is closed.
pub fn clear() -> anyhow::Result<bool> {
    write("\u{1b}[H\u{1b}[2J")
}

fn write(text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("write standard output"),
    }
}

/// Writes a line to standard error.
pub fn error_line(line: &str) {
    let _ = writeln!(io::stderr(), "{}", printable_lines(line));
}

/// The log on standard error. Each write is one event with its line end.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// Events have colours.
    pub colored: bool,
}

impl Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(log_line(&String::from_utf8_lossy(event), self.colored).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn log_line(event: &str, colored: bool) -> String {
    let line = event.strip_suffix('\n').unwrap_or(event);
    let shown = if colored { printable_colored(line) } else { printable(line) };
    format!("{shown}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_it_contains() {
        let event = "\u{1b}[32mINFO\u{1b}[0m red\n2026-11-28 ERROR forged\u{1b}[2J\n";
        assert_eq!(log_line(event, true), "\u{1b}[32mINFO\u{1b}[0m red\\n2026-11-28 ERROR forged\\u001b[2J\n");
        assert_eq!(log_line(event, false), "\\u001b[32mINFO\\u001b[0m red\\n2026-11-28 ERROR forged\\u001b[2J\n");
    }
}
