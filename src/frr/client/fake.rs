//! FRR in memory, for tests of what uses [`Routing`] and for a preview without a router. Its daemons are [`FakeDaemon`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use super::fake_daemon::FakeDaemon;
use super::port::{Presence, RejectedCommand, Routing, RoutingError};
use super::vty::{ReplyStatus, VtyError};
use crate::frr::config::batch::{CommandBatch, CommandMode};
use crate::frr::config::command::VtyCommand;
use crate::frr::config::line::Line;
use crate::frr::config::tree::Config;
use crate::frr::release::FrrVersion;
use crate::frr::show::mac::LocalNeighbors;
use crate::frr::show::running_config::RunningConfig;
use crate::frr::show::session::{SessionCounters, SessionKey, SessionPhase, SessionState};
use crate::frr::show::vni::{LocalCounts, VniState, VniType};
use crate::frr::show::vrf::VrfState;
use crate::frr::show::vrf_binding::Unbound;
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::types::{IfName, MacAddr, Vni, VrfName};

/// FRR in memory. Fields are for the test to set and to read.
#[derive(Debug, Clone)]
pub struct FakeRouting {
    /// Its version.
    pub version: FrrVersion,
    /// The daemons; a missing one has an empty configuration.
    pub daemons: BTreeMap<Daemon, FakeDaemon>,
    /// VRFs whose device or namespace zebra has.
    pub active: BTreeSet<VrfName>,
    /// L2VNIs whose VXLAN devices zebra has, with the VRF of the bridge.
    pub segments: BTreeMap<Vni, String>,
    /// VNIs that FRR does not bring up, and for how many reads.
    pub missing_vnis: BTreeMap<Vni, usize>,
    /// VNIs that bgpd has from an earlier zebra and the new one does not report, and for how many reads.
    pub stale_vnis: BTreeMap<Vni, usize>,
    /// VRFs to which the instance of bgpd is not bound.
    pub unbound: BTreeMap<VrfName, Unbound>,
    /// Daemons that do not answer.
    pub silent: BTreeSet<Daemon>,
    /// Router MACs of remote VTEPs.
    pub router_macs: BTreeMap<Vni, BTreeSet<MacAddr>>,
    /// What [`Routing::local_neighbors`] returns.
    pub neighbors: BTreeMap<Vni, LocalNeighbors>,
    /// Restarts so far.
    pub restarts: u64,
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
            segments: BTreeMap::new(),
            missing_vnis: BTreeMap::new(),
            stale_vnis: BTreeMap::new(),
            unbound: BTreeMap::new(),
            silent: BTreeSet::new(),
            router_macs: BTreeMap::new(),
            neighbors: BTreeMap::new(),
            restarts: 0,
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
            fake.daemons.entry(daemon).or_default().add(tree);
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

    /// A daemon is restarted: it has no configuration.
    pub fn restart(&mut self, daemon: Daemon) {
        self.daemons.remove(&daemon);
        self.restarts += 1;
    }

    /// Why a daemon does not answer, if it does not.
    fn answers(&self, daemon: Daemon) -> Result<(), RoutingError> {
        let source = || VtyError::Closed { path: format!("{daemon}.vty").into(), missing: 1 };
        if self.silent.contains(&daemon) { Err(RoutingError::Vty { daemon, source: source() }) } else { Ok(()) }
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
            daemon.leave();
        }
        rejected
    }
}

impl Routing for FakeRouting {
    async fn version(&mut self) -> Result<FrrVersion, RoutingError> {
        self.answers(Daemon::Zebra)?;
        Ok(self.version.clone())
    }

    async fn running(&mut self) -> Result<Arc<RunningConfig>, RoutingError> {
        self.answers(Daemon::Zebra)?;
        let mut answering = self.clone();
        answering.daemons.retain(|daemon, _| !self.silent.contains(daemon));
        Ok(Arc::new(answering.config()))
    }

    fn silent(&self) -> BTreeMap<Daemon, Arc<VtyError>> {
        let source = |daemon: &Daemon| Arc::new(VtyError::Closed { path: format!("{daemon}.vty").into(), missing: 1 });
        self.silent.iter().map(|daemon| (*daemon, source(daemon))).collect()
    }

    fn generation(&self) -> u64 {
        self.restarts
    }

    async fn apply(&mut self, batch: &CommandBatch) -> Result<Vec<RejectedCommand>, RoutingError> {
        self.answers(batch.daemon)?;
        Ok(self.execute_all(batch))
    }

    fn apply_concurrently(
        &mut self,
        batch: CommandBatch,
    ) -> impl Future<Output = Result<Vec<RejectedCommand>, RoutingError>> + Send + use<> {
        std::future::ready(self.answers(batch.daemon).map(|()| self.execute_all(&batch)))
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
        self.answers(Daemon::Zebra)?;
        self.answers(Daemon::Bgpd)?;
        let config = self.config().config;
        let in_bgp = config.has(&Scope::Underlay);
        let segment = |(vni, vrf): (&Vni, &String)| {
            let state = VniState { vni_type: VniType::L2, vrf: vrf.clone(), up: true, in_bgp, ..VniState::default() };
            (*vni, state)
        };
        let mut states: BTreeMap<Vni, VniState> = self.segments.iter().map(segment).collect();
        for (vni, reads) in &mut self.missing_vnis {
            if *reads > 0 && states.remove(vni).is_some() {
                *reads -= 1;
            }
        }
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
                unbound: self.unbound.get(name).copied().filter(|_| up),
                ..VniState::default()
            };
            states.insert(vni, state);
        }
        Ok(states)
    }

    async fn local_neighbors(&mut self, vni: Vni) -> Result<Option<LocalNeighbors>, RoutingError> {
        self.answers(Daemon::Zebra)?;
        Ok(Some(self.neighbors.get(&vni).cloned().unwrap_or_default()))
    }

    async fn local_counts(&mut self, vni: Vni) -> Result<LocalCounts, RoutingError> {
        self.answers(Daemon::Zebra)?;
        Ok(LocalCounts { macs: 0, neighbors: self.neighbors.get(&vni).map_or(0, |found| found.all.len()) as u64 })
    }

    async fn router_macs(&mut self, vni: Vni) -> Result<BTreeSet<MacAddr>, RoutingError> {
        Ok(self.router_macs.get(&vni).cloned().unwrap_or_default())
    }

    async fn sessions(&mut self) -> Result<Vec<SessionState>, RoutingError> {
        self.answers(Daemon::Bgpd)?;
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
