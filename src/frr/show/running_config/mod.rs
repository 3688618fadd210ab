//! The running configuration of all daemons, split by scope. In: the outputs of `show running-config`. Out: [`RunningConfig`]. A
//! scope whose lines did not change since the last time is not parsed again: it shares its trees with the last value. Pure.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::frr::config::tree::{Config, Tree, scope_of};
use crate::frr::stanza::policy_names;
use crate::memo::Memo;
use crate::runtime::Daemon;
use crate::scope::Scope;

/// What FRR runs, of all daemons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunningConfig {
    /// What perouter manages.
    pub config: Config,
    /// The rest, by daemon: reported and left alone.
    pub foreign: BTreeMap<Daemon, Tree>,
}

/// The output of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DaemonOutput {
    /// The daemon that prints it.
    pub daemon: Daemon,
    /// The daemon whose configuration it is.
    pub owner: Daemon,
    /// The output.
    pub text: String,
}

/// Reads outputs, and remembers the last ones.
#[derive(Debug, Default)]
pub struct RunningConfigReader {
    /// By a hash of the outputs.
    whole: Memo<u64, Arc<RunningConfig>>,
    /// The part of each scope, by a hash of its stanzas.
    scopes: BTreeMap<Scope, Memo<u64, Config>>,
}

/// A piece of an output: a line that is not indented, or a profile of `bfd`, with all that is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stanza<'a> {
    owner: Daemon,
    of_bfd: bool,
    text: &'a str,
}

impl RunningConfigReader {
    /// The configuration in these outputs; the same value again for the same outputs.
    pub fn read(&mut self, outputs: &[DaemonOutput]) -> Arc<RunningConfig> {
        let Self { whole, scopes } = self;
        Arc::clone(whole.get_or_compute(hash_of(&outputs), |_| Arc::new(parse(outputs, scopes))))
    }
}

/// `scopes`: those of the last outputs, replaced by those of these.
fn parse(outputs: &[DaemonOutput], scopes: &mut BTreeMap<Scope, Memo<u64, Config>>) -> RunningConfig {
    let mut running = RunningConfig::default();
    let mut of_scopes: BTreeMap<Scope, Vec<Stanza<'_>>> = BTreeMap::new();
    for output in outputs {
        let mut foreign_text = String::new();
        for stanza in stanzas(output) {
            match stanza.scope() {
                Some(scope) => of_scopes.entry(scope).or_default().push(stanza),
                None => stanza.write(&mut foreign_text),
            }
        }
        let foreign = running.config.absorb(output.owner, Tree::parse(&foreign_text));
        if !foreign.is_empty() {
            running.foreign.insert(output.daemon, foreign);
        }
    }
    let mut last = std::mem::take(scopes);
    for (scope, stanzas) in of_scopes {
        let mut part = last.remove(&scope).unwrap_or_default();
        let config = part.get_or_compute(hash_of(&stanzas), |_| parse_scope(&stanzas));
        running.config.take_over(&scope, config);
        scopes.insert(scope, part);
    }
    running
}

fn parse_scope(stanzas: &[Stanza<'_>]) -> Config {
    let mut texts: BTreeMap<Daemon, String> = BTreeMap::new();
    for stanza in stanzas {
        stanza.write(texts.entry(stanza.owner).or_default());
    }
    let mut config = Config::default();
    for (owner, text) in texts {
        config.absorb(owner, Tree::parse(&text));
    }
    config
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

fn stanzas(output: &DaemonOutput) -> impl Iterator<Item = Stanza<'_>> {
    let owner = output.owner;
    cut(&output.text).flat_map(move |text| {
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
