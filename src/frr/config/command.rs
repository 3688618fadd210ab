//! Command lines with the stanza that they belong to. In: changes of a tree, each a path and a line. Out: a flat list
//! ready to be sent after `configure terminal`, which enters and leaves stanzas by itself. Pure.

use std::fmt;

use super::line::Line;
use crate::frr::stanza::rules;
use crate::scope::Scope;

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
pub struct VtyCommand {
    /// Whose it is: a refusal finds its way back to the object that asked for the line.
    pub scope: Scope,
    /// The stanza, outermost first.
    pub context: Vec<Line>,
    /// The line.
    pub line: Line,
    /// What for.
    pub intent: Intent,
}

impl fmt::Display for VtyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:depth$}{}", "", self.line, depth = self.context.len())
    }
}

/// A change before it is laid out: `line` is to be sent within `path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineChange {
    pub path: Vec<Line>,
    pub line: Line,
}

/// Lays changes out in the order given, staying in a stanza as long as the next change is in it.
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
        let opens = rules::opens(line.send());
        out.push(command(&at, line.clone(), Intent::Set));
        if opens {
            at.push(line);
        }
    }
    out.extend(leave(&mut at, 0).into_iter().map(|(context, line)| command(&context, line, Intent::Leave)));
    out
}

/// The lines that lead out of stanzas until `depth` of them are open, each with where it is said.
fn leave(at: &mut Vec<Line>, depth: usize) -> Vec<(Vec<Line>, Line)> {
    let mut out = Vec::new();
    while at.len() > depth {
        let text = match at.pop().as_ref().and_then(|header| header.words().next()) {
            Some("address-family") => "exit-address-family",
            Some("vrf") => "exit-vrf",
            _ => "exit",
        };
        out.push((at.clone(), Line::new(text)));
    }
    out
}
