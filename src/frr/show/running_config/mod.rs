//! What FRR prints, split by what it belongs to. In: the texts of `show running-config`. Out: [`RunningConfig`]. A scope whose
//! lines are those of the last time is not read again: it shares its trees with the last time. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::runtime::Daemon;

use crate::frr::config::tree::{Config, Tree, scope_of};
use crate::frr::stanza::policy_names;
use crate::scope::Scope;

/// What FRR runs, of all daemons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunningConfig {
    /// What perouter manages.
    pub config: Config,
    /// The rest, by daemon: reported and left alone.
    pub foreign: BTreeMap<Daemon, Tree>,
}

/// What a daemon prints.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DaemonOutput {
    /// Who prints it.
    pub daemon: Daemon,
    /// Who is told what it says.
    pub owner: Daemon,
    /// It.
    pub text: String,
}

/// Reads prints.
#[derive(Debug, Default)]
pub struct RunningConfigReader {
    last: Option<(u64, Arc<RunningConfig>)>,
    /// Of the stanzas of each scope.
    hashes: BTreeMap<Scope, u64>,
}

/// A piece of a print: a line that is not indented, or a profile of `bfd`, with all that is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stanza<'a> {
    owner: Daemon,
    of_bfd: bool,
    text: &'a str,
}

impl RunningConfigReader {
    /// The configuration in these prints; the same value again for the same prints.
    pub fn read(&mut self, prints: &[DaemonOutput]) -> Arc<RunningConfig> {
        let hash = hash_of(&prints);
        let last = match &self.last {
            Some((last, running)) if *last == hash => return Arc::clone(running),
            Some((_, running)) => Arc::clone(running),
            None => Arc::default(),
        };
        let mut running = RunningConfig::default();
        let mut of_scopes: BTreeMap<Scope, Vec<Stanza<'_>>> = BTreeMap::new();
        for print in prints {
            let mut of_others = String::new();
            for stanza in stanzas(print) {
                match stanza.scope() {
                    Some(scope) => of_scopes.entry(scope).or_default().push(stanza),
                    None => stanza.write(&mut of_others),
                }
            }
            let foreign = running.config.absorb(print.owner, Tree::parse(&of_others));
            if !foreign.is_empty() {
                running.foreign.insert(print.daemon, foreign);
            }
        }
        let (mut hashes, mut known) = (BTreeMap::new(), BTreeSet::new());
        for (scope, stanzas) in of_scopes {
            let hash = hash_of(&stanzas);
            if self.hashes.get(&scope) == Some(&hash) {
                running.config.take_over(&scope, &last.config);
            } else {
                let mut texts: BTreeMap<Daemon, String> = BTreeMap::new();
                for stanza in stanzas {
                    stanza.write(texts.entry(stanza.owner).or_default());
                }
                for (owner, text) in texts {
                    running.config.absorb(owner, Tree::parse_sharing(&text, &mut known));
                }
            }
            hashes.insert(scope, hash);
        }
        let running = Arc::new(running);
        (self.last, self.hashes) = (Some((hash, Arc::clone(&running))), hashes);
        running
    }
}

impl Stanza<'_> {
    fn scope(&self) -> Option<Scope> {
        let header = self.text.lines().next().unwrap_or_default().trim_ascii();
        if self.of_bfd { policy_names::scope_of(header.strip_prefix("profile ")?) } else { scope_of(header) }
    }

    fn write(&self, text: &mut String) {
        if self.of_bfd {
            text.push_str("bfd\n");
        }
        text.push_str(self.text);
    }
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn stanzas(print: &DaemonOutput) -> impl Iterator<Item = Stanza<'_>> {
    let owner = print.owner;
    cut(&print.text).flat_map(move |text| {
        let profiles = text.strip_prefix("bfd\n");
        let whole = profiles.is_none().then_some(text);
        let pieces = whole.into_iter().chain(profiles.into_iter().flat_map(cut));
        pieces.map(move |text| Stanza { owner, of_bfd: profiles.is_some(), text })
    })
}

/// Cuts a text before each line that is not further in than its first.
fn cut(text: &str) -> impl Iterator<Item = &str> {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.lines().next()?;
        let mut end = 0;
        for line in rest.split_inclusive('\n') {
            if end > 0 && indent(line) <= indent(first) {
                break;
            }
            end += line.len();
        }
        let (piece, left) = rest.split_at(end);
        rest = left;
        Some(piece)
    })
}

#[cfg(test)]
mod tests;
