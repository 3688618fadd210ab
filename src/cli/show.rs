//! How a command shows what it has: format, headers, colours, once or time and again. In: a document, and its text for people. Out:
//! the same on standard output, and the exit status.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::exit_status::ExitStatus;
use super::output;
use super::table;
use crate::kind::API_VERSION;
use crate::ui::pause_after;

/// The pause of `--watch` between two reads, at least.
const WATCH: Duration = Duration::from_secs(2);

/// The format of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Human-readable text
    Table,
    /// The same with more columns or details
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// When states have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColorChoice {
    /// Whether standard output has colours.
    pub fn is_colored(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                !unwanted
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
                    && std::io::stdout().is_terminal()
            }
        }
    }
}

/// Options of each command that shows something.
#[derive(Debug, Clone, Args)]
pub struct ShowOptions {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    output: Format,
    /// Tables without headers
    #[arg(long)]
    no_headers: bool,
    /// Colours of states
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    color: ColorChoice,
}

/// Options of a command that can show how something changes.
#[derive(Debug, Clone, Args)]
pub struct WatchOptions {
    /// Read again after two seconds, or ten times what a read takes, and show what changed, until the command is stopped
    #[arg(short, long)]
    watch: bool,
}

/// A document with what it is, as an object of Kubernetes has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownDocument<'a, T> {
    api_version: &'static str,
    kind: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

/// A document that is a list.
#[derive(Debug, Serialize)]
pub struct Items<T> {
    /// Its items.
    pub items: Vec<T>,
}

/// What is shown.
#[derive(Debug)]
pub struct Shown {
    /// On standard output.
    pub text: String,
    /// The exit status.
    pub status: ExitStatus,
}

/// What tables have.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// More columns.
    pub is_wide: bool,
    headers: bool,
}

impl Look {
    /// Tables with headers, without further columns.
    #[cfg(test)]
    pub const TABLE: Self = Self { is_wide: false, headers: true };
    /// The same with further columns.
    #[cfg(test)]
    pub const WIDE: Self = Self { is_wide: true, headers: true };

    /// A table.
    pub fn table(self, headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
        table::render(if self.headers { headers } else { &[] }, rows)
    }
}

impl Default for ShowOptions {
    fn default() -> Self {
        Self { output: Format::Table, no_headers: false, color: ColorChoice::Never }
    }
}

impl ShowOptions {
    /// The document in the chosen format; `text` renders it for people.
    pub fn render<T: Serialize>(
        &self,
        kind: &str,
        body: &T,
        text: impl FnOnce(Look) -> String,
    ) -> anyhow::Result<String> {
        let document = ShownDocument { api_version: API_VERSION, kind, body };
        Ok(match self.output {
            Format::Table | Format::Wide => {
                text(Look { is_wide: self.output == Format::Wide, headers: !self.no_headers })
            }
            Format::Json => serde_json::to_string_pretty(&document)? + "\n",
            Format::Yaml => serde_saphyr::to_string(&document)?,
        })
    }

    /// Whether the text is for people.
    pub fn is_text(&self) -> bool {
        matches!(self.output, Format::Table | Format::Wide)
    }

    /// Whether details are wanted that a table does not have.
    pub fn is_wide(&self) -> bool {
        self.output != Format::Table
    }

    /// Writes it to standard output; `false` where that is closed.
    fn write(&self, text: &str) -> anyhow::Result<bool> {
        output::show(text, self.color.is_colored())
    }

    /// Shows it, and returns the exit status.
    pub fn show(&self, shown: &Shown) -> anyhow::Result<ExitCode> {
        self.write(&shown.text)?;
        Ok(shown.status.into())
    }

    /// Shows what `read` gives, once or time and again. An error after the first one is shown
    /// above what was read last on a screen, elsewhere on standard error.
    pub async fn watch(
        &self,
        watch: &WatchOptions,
        read: impl AsyncFn() -> anyhow::Result<Shown>,
    ) -> anyhow::Result<ExitCode> {
        let mut begin = Instant::now();
        let first = read().await?;
        let mut took = begin.elapsed();
        if !watch.watch {
            return self.show(&first);
        }
        let is_screen = self.is_text() && std::io::stdout().is_terminal();
        let mut last = String::new();
        let mut good = first.text;
        let mut shown = good.clone();
        loop {
            if shown != last {
                let separator = match (last.is_empty(), self.output) {
                    (true, _) | (_, Format::Json) => "",
                    (_, Format::Yaml) => "---\n",
                    _ => "\n",
                };
                let is_open = if is_screen {
                    output::clear()? && self.write(&shown)?
                } else {
                    self.write(&format!("{separator}{shown}"))?
                };
                if !is_open {
                    return Ok(first.status.into());
                }
                last = shown;
            }
            tokio::time::sleep(pause_after(took, WATCH)).await;
            begin = Instant::now();
            let next = read().await;
            took = begin.elapsed();
            shown = match next {
                Ok(Shown { text, .. }) => {
                    good.clone_from(&text);
                    text
                }
                // The screen has the last error alone.
                Err(error) if is_screen => format!("error: {error:#}\n\n{good}"),
                Err(error) => {
                    output::error_line(&format!("error: {error:#}"));
                    last.clone()
                }
            };
        }
    }
}
