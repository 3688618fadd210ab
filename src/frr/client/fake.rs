//! FRR in memory, for tests of what uses [`Routing`] and for a preview without a router. It processes command lines as the
//! daemons do (stanzas, `no`, values that replace each other) and does not use [`crate::frr::stanza::rules`], so that a
//! mistake there shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::port::{Presence, RejectedCommand, Routing, RoutingError};
use super::vty::ReplyStatus;
use crate::frr::config::batch::{CommandBatch, CommandMode};
use crate::frr::config::command::VtyCommand;
use crate::frr::config::line::Line;
use crate::frr::config::tree::{Config, Tree};
use crate::frr::release::FrrVersion;
use crate::frr::show::running_config::RunningConfig;
use crate::frr::show::session::{SessionCounters, SessionKey, SessionPhase, SessionState};
use crate::frr::show::vni::VniState;
use crate::frr::show::vrf::VrfState;
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::types::{IfName, MacAddr, Vni, VrfName};

/// Stanza headers by their first words.
const HEADERS: [&str; 6] = ["router bgp ", "address-family ", "vrf ", "profile ", "route-map ", "bfd"];
/// Commands that set one value, by the words before it. `*` is any word.
const SINGLE: [&str; 21] = [
    "bgp router-id",
    "bgp graceful-restart stalepath-time",
    "bgp graceful-restart restart-time",
    "neighbor * remote-as",
    "neighbor * interface remote-as",
    "neighbor * bfd profile",
    "neighbor * password",
    "neighbor * port",
    "neighbor * ebgp-multihop",
    "neighbor * timers connect",
    "neighbor * maximum-prefix",
    "aggregate-address *",
    "advertise * unicast",
    "match ip address prefix-list",
    "match ipv6 address prefix-list",
    "set local-preference",
    "set community",
    "detect-multiplier",
    "transmit-interval",
    "receive-interval",
    "minimum-ttl",
];
/// Defaults, which are not printed.
const DEFAULTS: [&str; 3] = ["detect-multiplier 3", "transmit-interval 300", "receive-interval 300"];
/// Settings that are on by default and printed when they are off.
const ON: [&str; 4] =
    ["bgp ebgp-requires-policy", "bgp default ipv4-unicast", "bgp network import-check", "zebra nexthop kernel enable"];

/// The configuration of one daemon, changed line by line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FakeDaemon {
    tree: Tree,
    context: Vec<Line>,
}

impl FakeDaemon {
    /// A daemon that runs `tree`.
    pub fn running(tree: Tree) -> Self {
        Self { tree, context: vec![] }
    }

    /// Its configuration as FRR prints it: without empty stanzas.
    pub fn config(&self) -> Tree {
        let mut tree = self.tree.clone();
        prune(&mut tree);
        tree
    }

    /// Processes one line.
    pub fn execute(&mut self, line: &Line) -> ReplyStatus {
        let text = line.send();
        if text == "end" || text == CONFIGURE {
            self.context.clear();
            return ReplyStatus::Success;
        }
        if text.starts_with("exit") {
            return if self.context.pop().is_some() { ReplyStatus::Success } else { ReplyStatus::Unknown };
        }
        let context = self.context.clone();
        let at = context.iter().fold(&mut self.tree, |tree, header| tree.0.entry(header.clone()).or_default());
        if HEADERS.iter().any(|header| text.starts_with(header)) {
            at.0.entry(line.clone()).or_default();
            self.context.push(line.clone());
            return ReplyStatus::Success;
        }
        match text.strip_prefix("no ") {
            Some(rest) => negate(at, line, rest),
            None => set(at, line),
        }
    }
}

const CONFIGURE: &str = "configure terminal";

fn prune(tree: &mut Tree) {
    tree.0.values_mut().for_each(prune);
    let bare = ["address-family", "bfd", "vrf"];
    tree.0.retain(|line, below| !(below.is_empty() && bare.contains(&line.words().next().unwrap_or_default())));
}

fn set(at: &mut Tree, line: &Line) -> ReplyStatus {
    let text = line.send();
    if at.0.remove(&Line::new(&format!("no {text}"))).is_some() || ON.contains(&text) {
        return ReplyStatus::Success;
    }
    let key = key(text);
    at.0.retain(|other, _| self::key(other.send()) != key);
    if !DEFAULTS.contains(&text) {
        at.0.insert(line.clone(), Tree::default());
    }
    ReplyStatus::Success
}

fn negate(at: &mut Tree, line: &Line, rest: &str) -> ReplyStatus {
    let words: Vec<_> = rest.split(' ').collect();
    if ON.contains(&rest) || matches!(words.as_slice(), ["neighbor", _, "send-community", "extended"]) {
        at.0.insert(line.clone(), Tree::default());
        return ReplyStatus::Success;
    }
    if let ["neighbor", peer, "remote-as" | "interface", ..] = words.as_slice() {
        forget(at, peer);
        return ReplyStatus::Success;
    }
    if HEADERS.iter().any(|header| rest.starts_with(header)) {
        return if at.0.remove(&Line::new(rest)).is_some() { ReplyStatus::Success } else { ReplyStatus::Warning };
    }
    let before = at.0.len();
    let timers = matches!(words.as_slice(), ["neighbor", _, "timers", ..]);
    at.0.retain(|other, _| {
        let other_words: Vec<_> = other.words().collect();
        let is_it = other_words.starts_with(&words);
        let connect = |words: &[&str]| words.get(3) == Some(&"connect");
        !is_it || timers && connect(&words) != connect(&other_words)
    });
    if at.0.len() < before { ReplyStatus::Success } else { ReplyStatus::Warning }
}

fn forget(tree: &mut Tree, peer: &str) {
    tree.0.retain(|line, _| !line.words().skip_while(|word| *word == "no").take(2).eq(["neighbor", peer]));
    tree.0.values_mut().for_each(|below| forget(below, peer));
}

/// Lines with one key replace each other.
fn key(text: &str) -> String {
    let words: Vec<_> = text.split(' ').collect();
    for pattern in SINGLE {
        let parts: Vec<_> = pattern.split(' ').collect();
        let fits = words.len() >= parts.len() && parts.iter().zip(&words).all(|(p, w)| *p == "*" || p == w);
        if fits {
            return words.iter().take(parts.len()).copied().collect::<Vec<_>>().join(" ");
        }
    }
    match words.as_slice() {
        ["neighbor", peer, "timers", ..] => format!("neighbor {peer} timers"),
        ["neighbor", peer, what @ ("prefix-list" | "route-map"), _, way] => format!("neighbor {peer} {what} {way}"),
        [family, "prefix-list", name, "seq", number, ..] => format!("{family} {name} {number}"),
        _ => text.to_owned(),
    }
}

/// FRR in memory. Fields are for the test to set and to read.
#[derive(Debug, Clone)]
pub struct FakeRouting {
    /// Its version.
    pub version: FrrVersion,
    /// The daemons; a missing one has an empty configuration.
    pub daemons: BTreeMap<Daemon, FakeDaemon>,
    /// VRFs whose device or namespace zebra has.
    pub active: BTreeSet<VrfName>,
    /// VNIs that FRR does not bring up, and for how many reads.
    pub missing_vnis: BTreeMap<Vni, usize>,
    /// VNIs that bgpd has from an earlier zebra and the new one does not report, and for how many reads.
    pub stale_vnis: BTreeMap<Vni, usize>,
    /// The sessions.
    pub sessions: Vec<SessionState>,
    /// Lines that contain one of these texts are rejected with the message of the entry.
    pub rejects: BTreeMap<String, String>,
    /// Every line so far that does more than enter or leave a stanza, with passwords masked.
    pub sent: Vec<(Daemon, String)>,
}

impl Default for FakeRouting {
    fn default() -> Self {
        Self {
            version: FrrVersion { major: 8, minor: 4, text: "8.4.4".to_owned() },
            daemons: BTreeMap::new(),
            active: BTreeSet::new(),
            missing_vnis: BTreeMap::new(),
            stale_vnis: BTreeMap::new(),
            sessions: Vec::new(),
            rejects: BTreeMap::new(),
            sent: Vec::new(),
        }
    }
}

impl FakeRouting {
    /// FRR running `config`.
    pub fn running(config: &Config) -> Self {
        let mut fake = Self::default();
        for (scope, daemon, tree) in config.parts() {
            let all = &mut fake.daemons.entry(daemon).or_default().tree;
            for (line, below) in &tree.0 {
                all.0.entry(line.clone()).or_default().0.extend(below.0.clone());
            }
            if let Scope::Vrf(name) = scope {
                fake.active.insert(name.clone());
            }
        }
        fake
    }

    /// What it runs.
    pub fn config(&self) -> RunningConfig {
        let mut running = RunningConfig::default();
        for (daemon, fake) in &self.daemons {
            let foreign = running.config.absorb(*daemon, fake.config());
            if !foreign.is_empty() {
                running.foreign.insert(*daemon, foreign);
            }
        }
        running
    }

    fn execute(&mut self, daemon: Daemon, command: &VtyCommand) -> Result<(), RejectedCommand> {
        let line = &command.line;
        let rejected =
            |status, text: &str| RejectedCommand { daemon, command: command.clone(), status, text: text.to_owned() };
        if let Some((_, message)) = self.rejects.iter().find(|(text, _)| line.send().contains(text.as_str())) {
            return Err(rejected(ReplyStatus::Rejected, message));
        }
        let vnis = self.daemons.get(&Daemon::Zebra).map(FakeDaemon::config).unwrap_or_default();
        if let Some(vrf) = line.after("no router bgp").and_then(|rest| rest.split_once(" vrf ")).map(|(_, vrf)| vrf)
            && vnis.0.contains_key(&Line::new(&format!("vrf {vrf}")))
        {
            return Err(rejected(ReplyStatus::Rejected, "% Please unconfigure l3vni"));
        }
        if let Some(vrf) = line.after("no vrf").filter(|vrf| self.active.iter().any(|name| name.as_str() == *vrf)) {
            return Err(rejected(ReplyStatus::Rejected, &format!("% Only inactive VRFs can be deleted: {vrf}")));
        }
        match self.daemons.entry(daemon).or_default().execute(line) {
            status if status.is_ok() => Ok(()),
            status => Err(rejected(status, "% Unknown command")),
        }
    }

    fn execute_all(&mut self, batch: &CommandBatch) -> Vec<RejectedCommand> {
        let mut rejected = Vec::new();
        for command in &batch.commands {
            if command.intent == crate::frr::config::command::Intent::Set {
                self.sent.push((batch.daemon, command.to_string().trim_start().to_owned()));
            }
            if batch.mode == CommandMode::Configure {
                rejected.extend(self.execute(batch.daemon, command).err());
            }
        }
        if let Some(daemon) = self.daemons.get_mut(&batch.daemon) {
            daemon.context.clear();
        }
        rejected
    }
}

impl Routing for FakeRouting {
    async fn version(&mut self) -> Result<FrrVersion, RoutingError> {
        Ok(self.version.clone())
    }

    async fn running(&mut self) -> Result<Arc<RunningConfig>, RoutingError> {
        Ok(Arc::new(self.config()))
    }

    async fn apply(&mut self, batch: &CommandBatch) -> Result<Vec<RejectedCommand>, RoutingError> {
        Ok(self.execute_all(batch))
    }

    fn apply_concurrently(
        &mut self,
        batch: CommandBatch,
    ) -> impl Future<Output = Result<Vec<RejectedCommand>, RoutingError>> + Send + use<> {
        std::future::ready(Ok(self.execute_all(&batch)))
    }

    async fn vrfs(&mut self) -> Result<BTreeMap<VrfName, VrfState>, RoutingError> {
        Ok(self.active.iter().map(|name| (name.clone(), VrfState::Active)).collect())
    }

    async fn wait_vrf(&mut self, vrf: &VrfName, wanted: Presence, limit: Duration) -> Result<(), RoutingError> {
        if self.active.contains(vrf) == (wanted == Presence::Active) {
            return Ok(());
        }
        Err(RoutingError::Vrf { vrf: vrf.clone(), wanted, limit })
    }

    async fn wait_links(
        &mut self,
        vrf: &VrfName,
        links: &BTreeSet<IfName>,
        limit: Duration,
    ) -> Result<(), RoutingError> {
        if self.active.contains(vrf) {
            return Ok(());
        }
        Err(RoutingError::Links { vrf: vrf.clone(), links: links.clone(), limit })
    }

    async fn vnis(&mut self) -> Result<BTreeMap<Vni, VniState>, RoutingError> {
        let config = self.config().config;
        let mut states = BTreeMap::new();
        for scope in config.scopes() {
            let (Scope::Vrf(name), Some(vni)) = (scope, config.identity(scope).vni) else { continue };
            let applies = |reads: &mut usize| {
                let applies = *reads > 0;
                *reads = reads.saturating_sub(1);
                applies
            };
            if self.stale_vnis.get_mut(&vni).is_some_and(applies) {
                states.insert(vni, VniState { in_bgp: true, ..VniState::default() });
                continue;
            }
            let is_missing = self.missing_vnis.get_mut(&vni).is_some_and(applies);
            let up = self.active.contains(name) && !is_missing;
            let [_, b, c, d] = vni.get().to_be_bytes();
            let state = VniState {
                vrf: name.to_string(),
                up,
                router_mac: up.then_some(MacAddr([2, 0, 0, b, c, d])),
                svi: up.then(|| format!("br-pe-{vni}")),
                in_bgp: up && config.tree(scope, Daemon::Bgpd).is_some(),
                ..VniState::default()
            };
            states.insert(vni, state);
        }
        Ok(states)
    }

    async fn sessions(&mut self) -> Result<Vec<SessionState>, RoutingError> {
        Ok(self.sessions.clone())
    }

    async fn down_sessions(&mut self) -> Result<Arc<BTreeMap<SessionKey, SessionCounters>>, RoutingError> {
        let down = self.sessions.iter().filter(|session| session.phase != SessionPhase::Established);
        let counters = |session: &SessionState| {
            let dropped = session.established;
            ((session.vrf.clone(), session.peer.clone()), SessionCounters { established: session.established, dropped })
        };
        Ok(Arc::new(down.map(counters).collect()))
    }
}
