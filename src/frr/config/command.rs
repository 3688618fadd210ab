//! Command lines with the stanza to which they belong. In: changes of a tree, each a path and a line. Out: a flat list to be
//! sent after `configure terminal`, which enters and leaves the stanzas. Pure.

use std::fmt;

use super::line::Line;
use crate::frr::stanza::rules;
use crate::scope::Scope;

/// The purpose of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Enters a stanza that exists.
    Enter,
    /// Changes something.
    Set,
    /// Leaves a stanza.
    Leave,
}

/// One line to send. `Display` masks passwords and indents by depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VtyCommand {
    /// The scope: a rejection is reported for the object behind it.
    pub scope: Scope,
    /// The stanza, outermost first.
    pub context: Vec<Line>,
    /// The line.
    pub line: Line,
    /// The purpose.
    pub intent: Intent,
}

impl fmt::Display for VtyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:depth$}{}", "", self.line, depth = self.context.len())
    }
}

/// A change before it becomes commands: `line` is to be sent within `path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineChange {
    pub path: Vec<Line>,
    pub line: Line,
}

/// The commands for changes, in their order. A stanza is left when the next change is not in it.
pub(crate) fn lay_out(scope: &Scope, changes: Vec<LineChange>) -> Vec<VtyCommand> {
    let mut out = Vec::new();
    let mut at: Vec<Line> = Vec::new();
    let command =
        |context: &[Line], line, intent| VtyCommand { scope: scope.clone(), context: context.to_vec(), line, intent };
    for LineChange { path, line } in changes {
        let shared = at.iter().zip(&path).take_while(|(a, b)| a == b).count();
        out.extend(leave(&mut at, shared).into_iter().map(|(context, line)| command(&context, line, Intent::Leave)));
        for header in path.into_iter().skip(shared) {
            out.push(command(&at, header.clone(), Intent::Enter));
            at.push(header);
        }
        let opens = rules::opens_in(at.last().map(Line::send), line.send());
        out.push(command(&at, line.clone(), Intent::Set));
        if opens {
            at.push(line);
        }
    }
    out.extend(leave(&mut at, 0).into_iter().map(|(context, line)| command(&context, line, Intent::Leave)));
    out
}

/// The lines that leave stanzas until `depth` of them are open, each with its context.
fn leave(at: &mut Vec<Line>, depth: usize) -> Vec<(Vec<Line>, Line)> {
    let mut out = Vec::new();
    while at.len() > depth {
        let text = match at.pop().as_ref().and_then(|header| header.words().next()) {
            Some("address-family") => "exit-address-family",
            Some("vrf") => "exit-vrf",
            Some("vni") => "exit-vni",
            _ => "exit",
        };
        out.push((at.clone(), Line::new(text)));
    }
    out
}
