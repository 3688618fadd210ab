//! FRR in memory beside a kernel in memory, for tests of what uses both ports. In: a [`FakeKernel`]. Out: [`FakeFrr`], which
//! answers as its [`FakeRouting`] does, with the VRFs of that kernel, and reports each [`RoutingCall`] to the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;

use super::fake::FakeRouting;
use super::port::{Presence, RejectedCommand, Routing, RoutingError};
use super::vty::VtyError;
use crate::frr::config::batch::CommandBatch;
use crate::frr::release::FrrVersion;
use crate::frr::show::mac::LocalNeighbors;
use crate::frr::show::running_config::RunningConfig;
use crate::frr::show::session::{SessionCounters, SessionKey, SessionState};
use crate::frr::show::vni::{LocalCounts, VniState};
use crate::frr::show::vrf::VrfState;
use crate::kernel::fake::FakeKernel;
use crate::kernel::model::{Link, LinkKey, LinkKind};
use crate::names::OwnedName;
use crate::runtime::Daemon;
use crate::types::{IfName, MacAddr, Vni, VrfName};

/// A call of the port, without those that ask for the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutingCall {
    /// [`Routing::running`].
    Running,
    /// [`Routing::apply`].
    Apply(CommandBatch),
    /// [`Routing::apply_concurrently`].
    ApplyConcurrently(CommandBatch),
    /// [`Routing::vrfs`].
    Vrfs,
    /// [`Routing::wait_vrf`].
    WaitVrf(VrfName, Presence),
    /// [`Routing::wait_links`].
    WaitLinks(VrfName, BTreeSet<IfName>),
    /// [`Routing::wait_router_macs`].
    WaitRouterMacs(BTreeMap<Vni, MacAddr>),
    /// [`Routing::vnis`].
    Vnis,
    /// [`Routing::local_neighbors`].
    LocalNeighbors(Vni),
    /// [`Routing::sessions`].
    Sessions,
    /// [`Routing::down_sessions`].
    DownSessions,
}

/// FRR in memory. Its clones are the same FRR.
#[derive(Clone)]
pub struct FakeFrr {
    routing: Arc<Mutex<FakeRouting>>,
    kernel: Arc<FakeKernel>,
    on_call: Arc<dyn Fn(&RoutingCall) + Send + Sync>,
}

impl fmt::Debug for FakeFrr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.routing.fmt(f)
    }
}

impl FakeFrr {
    /// `routing` beside `kernel`.
    pub fn new(routing: FakeRouting, kernel: Arc<FakeKernel>) -> Self {
        Self { routing: Arc::new(Mutex::new(routing)), kernel, on_call: Arc::new(|_| ()) }
    }

    /// Reports each call before it is answered.
    pub fn on_call(self, on_call: impl Fn(&RoutingCall) + Send + Sync + 'static) -> Self {
        Self { on_call: Arc::new(on_call), ..self }
    }

    /// Its state, with the VRFs that the kernel has now.
    pub fn routing(&self) -> MutexGuard<'_, FakeRouting> {
        let state = self.kernel.state();
        let segment = |(key, link): (&LinkKey, &Link)| {
            let vni = key.name.vni().filter(|_| link.segment && matches!(link.kind, LinkKind::Vxlan { .. }))?;
            Some((vni, state.vrf_by_place(key).map_or_else(|| "default".to_owned(), ToString::to_string)))
        };
        let segments = state.links.iter().filter_map(segment).collect();
        let devices = state.links.into_keys().filter_map(|key| match key.name {
            OwnedName::Vrf(vrf) => Some(vrf),
            OwnedName::Vni(..) => None,
        });
        let mut routing = self.routing.lock().unwrap();
        routing.segments = segments;
        routing.active = state.vrf_netns.into_iter().chain(devices).collect();
        routing
    }

    fn called(&self, call: &RoutingCall) -> MutexGuard<'_, FakeRouting> {
        (self.on_call)(call);
        self.routing()
    }
}

/// The answer of [`FakeRouting`], which waits for nothing.
fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().unwrap()
}

impl Routing for FakeFrr {
    async fn version(&mut self) -> Result<FrrVersion, RoutingError> {
        now(self.routing().version())
    }
    async fn running(&mut self) -> Result<Arc<RunningConfig>, RoutingError> {
        now(self.called(&RoutingCall::Running).running())
    }
    async fn apply(&mut self, batch: &CommandBatch) -> Result<Vec<RejectedCommand>, RoutingError> {
        now(self.called(&RoutingCall::Apply(batch.clone())).apply(batch))
    }
    fn apply_concurrently(
        &mut self,
        batch: CommandBatch,
    ) -> impl Future<Output = Result<Vec<RejectedCommand>, RoutingError>> + Send + use<> {
        self.called(&RoutingCall::ApplyConcurrently(batch.clone())).apply_concurrently(batch)
    }
    async fn vrfs(&mut self) -> Result<BTreeMap<VrfName, VrfState>, RoutingError> {
        now(self.called(&RoutingCall::Vrfs).vrfs())
    }
    async fn wait_vrf(&mut self, vrf: &VrfName, wanted: Presence, limit: Duration) -> Result<(), RoutingError> {
        now(self.called(&RoutingCall::WaitVrf(vrf.clone(), wanted)).wait_vrf(vrf, wanted, limit))
    }
    async fn wait_links(
        &mut self,
        vrf: &VrfName,
        links: &BTreeSet<IfName>,
        limit: Duration,
    ) -> Result<(), RoutingError> {
        now(self.called(&RoutingCall::WaitLinks(vrf.clone(), links.clone())).wait_links(vrf, links, limit))
    }
    async fn wait_router_macs(&mut self, wanted: &BTreeMap<Vni, MacAddr>, limit: Duration) -> Result<(), RoutingError> {
        now(self.called(&RoutingCall::WaitRouterMacs(wanted.clone())).wait_router_macs(wanted, limit))
    }
    fn silent(&self) -> BTreeMap<Daemon, Arc<VtyError>> {
        self.routing().silent()
    }
    fn generation(&self) -> u64 {
        self.routing().generation()
    }
    async fn local_neighbors(&mut self, vni: Vni) -> Result<Option<LocalNeighbors>, RoutingError> {
        now(self.called(&RoutingCall::LocalNeighbors(vni)).local_neighbors(vni))
    }
    async fn local_counts(&mut self, vni: Vni) -> Result<LocalCounts, RoutingError> {
        now(self.routing().local_counts(vni))
    }
    async fn router_macs(&mut self, vni: Vni) -> Result<BTreeSet<MacAddr>, RoutingError> {
        now(self.routing().router_macs(vni))
    }
    async fn vnis(&mut self) -> Result<BTreeMap<Vni, VniState>, RoutingError> {
        now(self.called(&RoutingCall::Vnis).vnis())
    }
    async fn sessions(&mut self) -> Result<Vec<SessionState>, RoutingError> {
        now(self.called(&RoutingCall::Sessions).sessions())
    }
    async fn down_sessions(&mut self) -> Result<Arc<BTreeMap<SessionKey, SessionCounters>>, RoutingError> {
        now(self.called(&RoutingCall::DownSessions).down_sessions())
    }
}
