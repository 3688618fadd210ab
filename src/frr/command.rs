//! Command lines with the stanza that they belong to. In: changes of a tree, each a path and a line. Out: a flat list
//! ready to be sent after `configure terminal`, which enters and leaves stanzas by itself. Pure.

use std::fmt;

use super::line::Line;
use super::rules;

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Goes into a stanza that stands already.
    Enter,
    /// Changes something.
    Set,
    /// Leaves a stanza.
    Leave,
}

/// One line to send. `Display` masks passwords and indents by depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The stanza, outermost first.
    pub context: Vec<Line>,
    /// The line.
    pub line: Line,
    /// What for.
    pub intent: Intent,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:depth$}{}", "", self.line, depth = self.context.len())
    }
}

/// A change before it is laid out: `line` is to be sent within `path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub path: Vec<Line>,
    pub line: Line,
}

/// Lays changes out in the order given, staying in a stanza as long as the next change is in it.
pub(super) fn lay_out(changes: Vec<Change>) -> Vec<Command> {
    let mut out = Vec::new();
    let mut at: Vec<Line> = Vec::new();
    for Change { path, line } in changes {
        let shared = at.iter().zip(&path).take_while(|(a, b)| a == b).count();
        leave(&mut out, &mut at, shared);
        for header in path.into_iter().skip(shared) {
            out.push(Command { context: at.clone(), line: header.clone(), intent: Intent::Enter });
            at.push(header);
        }
        let opens = rules::opens(&line);
        out.push(Command { context: at.clone(), line: line.clone(), intent: Intent::Set });
        if opens {
            at.push(line);
        }
    }
    leave(&mut out, &mut at, 0);
    out
}

fn leave(out: &mut Vec<Command>, at: &mut Vec<Line>, depth: usize) {
    while at.len() > depth {
        let text = match at.pop().as_ref().and_then(|header| header.words().next()) {
            Some("address-family") => "exit-address-family",
            Some("vrf") => "exit-vrf",
            _ => "exit",
        };
        out.push(Command { context: at.clone(), line: Line::new(text), intent: Intent::Leave });
    }
}
