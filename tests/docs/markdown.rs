//! Markdown as far as the checks need it. In: the text of a page. Out: [`Page`]: its headings as anchors, links, fenced blocks
//! with the comment above them, and code spans, each with its line. It opens no file.

use std::collections::{BTreeMap, BTreeSet};

/// A page.
#[derive(Debug, Default)]
pub struct Page {
    /// The text of the first heading, if the page begins with one.
    pub title: Option<String>,
    /// What a link may have after its `#`.
    pub anchors: BTreeSet<String>,
    /// Targets of links.
    pub links: Vec<(usize, String)>,
    /// Fenced blocks.
    pub blocks: Vec<Block>,
    /// Code spans outside of blocks.
    pub spans: Vec<(usize, String)>,
}

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Line of the opening fence, from 1.
    pub line: usize,
    /// The word after the opening fence.
    pub language: String,
    /// The comment above it, without its marks.
    pub note: Option<String>,
    /// What is inside.
    pub text: String,
}

/// A command of a console block, and what it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// After the prompt, with its continuation lines and without a comment at its end.
    pub command: String,
    /// The lines up to the next prompt.
    pub output: String,
}

impl Page {
    /// Reads a page.
    pub fn read(text: &str) -> Self {
        let mut page = Self::default();
        let (mut note, mut open): (Option<String>, Option<(usize, Block)>) = (None, None);
        let mut repeated = BTreeMap::<String, usize>::new();
        for (index, line) in text.lines().enumerate() {
            let (number, indent) = (index + 1, line.len() - line.trim_start().len());
            let fence = line.trim_start().strip_prefix("```");
            if let Some((outer, block)) = &mut open {
                if fence.is_some_and(|rest| rest.trim().is_empty()) && indent == *outer {
                    page.blocks.extend(open.take().map(|(_, block)| block));
                } else {
                    block.text.push_str(line.get(*outer..).unwrap_or_default());
                    block.text.push('\n');
                }
            } else if let Some(language) = fence {
                let language = language.trim().to_owned();
                let block = Block { line: number, language, note: note.take(), text: String::new() };
                open = Some((indent, block));
            } else if let Some(comment) = line.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) {
                note = Some(comment.trim().to_owned());
            } else if !line.trim().is_empty() {
                note = None;
                page.prose(line, number, &mut repeated);
            }
        }
        page
    }

    fn prose(&mut self, line: &str, number: usize, repeated: &mut BTreeMap<String, usize>) {
        let heading = line.trim_start_matches('#');
        if heading.len() < line.len() && heading.starts_with(' ') {
            let anchor = anchor(heading.trim());
            let count = repeated.entry(anchor.clone()).or_default();
            self.anchors.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
            *count += 1;
            self.title.get_or_insert_with(|| heading.trim().to_owned());
        } else if self.title.is_none() {
            self.title = Some(String::new());
        }
        let mut parts = line.split('`');
        let mut text = parts.next().unwrap_or_default().to_owned();
        // The odd parts are code: they hide what looks like a link, and stay a part of the text of one.
        for (place, part) in parts.enumerate() {
            if place % 2 == 0 {
                self.spans.push((number, part.to_owned()));
                text.push_str("code");
            } else {
                text.push_str(part);
            }
        }
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        self.links.extend(targets.map(|(target, _)| (number, target.to_owned())));
    }
}

/// As GitHub and mdBook make it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ => letter.is_alphanumeric().then(|| letter.to_ascii_lowercase()),
    });
    kept.collect()
}

impl Block {
    /// The commands of a console or shell block. In a shell block each line is a command.
    pub fn shown(&self) -> Vec<Shown> {
        let mut shown: Vec<Shown> = Vec::new();
        let mut continues = false;
        for line in self.text.lines() {
            let command = match self.language.as_str() {
                "console" => line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")),
                _ => Some(line).filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')),
            };
            match (shown.last_mut(), command) {
                (Some(last), _) if continues => last.command.push_str(line.trim_start()),
                (_, Some(command)) => shown.push(Shown { command: command.to_owned(), output: String::new() }),
                (Some(last), None) => {
                    last.output.push_str(line);
                    last.output.push('\n');
                }
                (None, None) => {}
            }
            if let Some(last) = shown.last_mut() {
                let open = last.command.strip_suffix('\\').map(str::to_owned);
                continues = open.is_some();
                last.command = open.unwrap_or_else(|| without_comment(&last.command));
            }
        }
        shown
    }

    /// A note of this name and what follows its colon: `run: exit 2` has the name `run`.
    pub fn noted(&self, name: &str) -> Option<&str> {
        let note = self.note.as_deref()?;
        let rest = note.strip_prefix(name)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix(':').map(str::trim) }
    }

    /// The exit status that `run: exit N` or `lab: exit N` states, 0 without it.
    pub fn exit_status(&self, name: &str) -> Option<i32> {
        match self.noted(name)? {
            "" => Some(0),
            rest => rest.strip_prefix("exit ")?.parse().ok(),
        }
    }
}

/// Without what follows ` # ` after two blanks.
fn without_comment(command: &str) -> String {
    command.split("  # ").next().unwrap_or_default().trim_end().to_owned()
}

/// The words of a command as a shell splits them, as far as quotes go. A pipe, `&&` and `;` are words.
pub fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    for letter in command.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}
