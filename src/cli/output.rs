//! What the commands and the log write. In: text. Out: the same on standard output and standard error, without characters that
//! act on a terminal ([`printable`](crate::printable)). Nothing else in `cli` and `main` prints.

use std::io::{self, Write};

use crate::printable::{printable, printable_colored, printable_lines};

/// Writes a text to standard output. An output that is closed, as by `head`, is no error.
pub fn out(text: &str) {
    let _ = io::stdout().write_all(printable_lines(text).as_bytes());
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
