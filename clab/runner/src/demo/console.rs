//! Console output of the demo.
//!
//! In: steps and their results. Out: lines on standard output, in colour only on a terminal. It must not decide whether a
//! step succeeded.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Where the demo is shown.
#[derive(Debug)]
pub struct Console {
    colour: bool,
    start: Instant,
    title: &'static str,
    step_start: Instant,
    number: usize,
    of: usize,
}

const GREEN: &str = "32";
const RED: &str = "31";
const BOLD: &str = "1";
const DIM: &str = "2";

impl Console {
    /// A console for this number of steps.
    pub fn new(of: usize) -> Self {
        let now = Instant::now();
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, start: now, title: "", step_start: now, number: 0, of }
    }

    /// Number of the current step, and of all steps.
    pub fn position(&self) -> (usize, usize) {
        (self.number, self.of)
    }

    /// Title of the current step.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// A line above all steps.
    pub fn headline(&self, text: &str) {
        self.line(&format!("{}\n", self.paint(BOLD, text)));
    }

    /// A step begins; on a terminal its title is shown while it runs.
    pub fn begin(&mut self, title: &'static str) {
        (self.title, self.step_start, self.number) = (title, Instant::now(), self.number + 1);
        if self.colour {
            self.write(&format!("{} {title} …", self.paint(DIM, &self.mark("·"))));
        }
    }

    /// The step is done, with these lines as its result.
    pub fn done(&mut self, result: &str) {
        self.finish(GREEN, "✓");
        for line in result.lines() {
            self.line(format!("        {line}").trim_end());
        }
        self.line("");
    }

    /// The step failed.
    pub fn failed(&mut self) {
        self.finish(RED, "✗");
    }

    /// Indented lines outside of any step.
    pub fn lines(&self, text: &str) {
        for line in text.lines() {
            self.line(&format!("  {line}"));
        }
    }

    /// Time since the first line.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The last line.
    pub fn verdict(&self, text: &str) {
        self.line(&self.paint(GREEN, text));
    }

    fn finish(&self, colour: &str, mark: &str) {
        let took = format!("{:5.1} s", self.step_start.elapsed().as_secs_f64());
        let wide = format!("{:<66}", self.title);
        let again = if self.colour { "\r\x1b[K" } else { "" };
        self.line(&format!("{again}{} {wide} {}", self.paint(colour, &self.mark(mark)), self.paint(DIM, &took)));
    }

    fn mark(&self, mark: &str) -> String {
        let width = self.of.to_string().len();
        format!("{mark} [{:>width$}/{}]", self.number, self.of)
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    #[expect(clippy::unused_self, reason = "all output goes through the console")]
    fn write(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        // The reader has closed the pipe: the demo continues, its exit code still matters.
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }
}
