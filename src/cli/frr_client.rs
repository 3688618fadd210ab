//! Queries to the FRR of this node. In: its paths. Out: typed answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use ipnet::IpNet;

use crate::frr::client::port::Routing as _;
use crate::frr::client::vty_routing::VtyRouting;
use crate::frr::show::neighbor::{self, SessionReset};
use crate::frr::show::route::{self, Match, Path, Type5};
use crate::frr::show::session::{SessionKey, SessionPhase, SessionState};
use crate::frr::show::vni::{VniState, VniType};
use crate::runtime::{Daemon, Runtime};
use crate::types::{Family, Vni, VrfName};

/// bgpd is busy for 0.4 s at most while it receives 100 000 routes.
const VTY_LIMIT: Duration = Duration::from_secs(10);

/// The vty sockets of a router's daemons.
pub fn routing(runtime: &Runtime) -> VtyRouting {
    VtyRouting::new(runtime.frr_dir(), VTY_LIMIT)
}

/// The error that a VRF is none of those of this router.
pub fn unknown_vrf(vrf: &str, known: &BTreeSet<&str>) -> anyhow::Error {
    let known = if known.is_empty() { "none".to_owned() } else { known.iter().copied().collect::<Vec<_>>().join(", ") };
    anyhow::anyhow!("VRF {vrf} not found; VRFs of this router: {known}")
}

/// The FRR of a running router.
pub struct FrrQueries {
    vty: VtyRouting,
    hint: String,
}

impl FrrQueries {
    /// To the router with these paths.
    pub fn of(runtime: &Runtime) -> Self {
        let hint =
            format!("no answer from FRR in {} (is `perouter run` running on this node?)", runtime.frr_dir().display());
        Self { vty: routing(runtime), hint }
    }

    async fn show(&mut self, daemon: Daemon, command: &str) -> anyhow::Result<String> {
        self.vty.show(daemon, command).await.with_context(|| self.hint.clone())
    }

    /// All sessions, with their last reset.
    pub async fn sessions(&mut self) -> anyhow::Result<Vec<(SessionState, Option<SessionReset>)>> {
        let sessions = self.vty.sessions().await.with_context(|| self.hint.clone())?;
        let mut resets: BTreeMap<SessionKey, SessionReset> =
            neighbor::resets(&self.show(Daemon::Bgpd, neighbor::SHOW_NEIGHBORS).await?)?;
        let with_reset = |session: SessionState| {
            let reset = resets.remove(&(session.vrf.clone(), session.peer.clone()));
            (session, reset)
        };
        Ok(sessions.into_iter().map(with_reset).collect())
    }

    /// Prefixes that the filter of a host session rejects; none of a session that is not established, or with the fabric.
    pub async fn filtered(&mut self, session: &SessionState) -> anyhow::Result<BTreeSet<IpNet>> {
        let mut found = BTreeSet::new();
        let (Some(vrf), SessionPhase::Established) = (&session.vrf, &session.phase) else { return Ok(found) };
        for family in session.families() {
            let text = self.show(Daemon::Bgpd, &route::show_filtered(vrf, family, &session.peer)).await?;
            found.extend(route::filtered(&text)?);
        }
        Ok(found)
    }

    /// The L3VNI of each VRF.
    pub async fn l3vnis(&mut self) -> anyhow::Result<BTreeMap<VrfName, (Vni, VniState)>> {
        let vnis = self.vty.vnis().await.with_context(|| self.hint.clone())?;
        let l3vnis = vnis.into_iter().filter(|(_, state)| state.vni_type == VniType::L3);
        Ok(l3vnis.filter_map(|(vni, state)| Some((state.vrf.parse().ok()?, (vni, state)))).collect())
    }

    /// All paths of a VRF.
    pub async fn paths(&mut self, vrf: &VrfName, family: Family) -> anyhow::Result<BTreeMap<IpNet, Vec<Path>>> {
        Ok(route::paths(&self.show(Daemon::Bgpd, &route::show_paths(vrf, family)).await?)?)
    }

    /// The longest match of a VRF for an address.
    pub async fn matched(&mut self, vrf: &VrfName, address: IpAddr) -> anyhow::Result<Option<Match>> {
        let found = route::matched(&self.show(Daemon::Bgpd, &route::show_match(vrf, &address.to_string())).await?)?;
        if found.is_some() {
            return Ok(found);
        }
        // FRR 10 does not report a default route as a match.
        let default = if address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        Ok(route::matched(&self.show(Daemon::Bgpd, &route::show_match(vrf, default)).await?)?)
    }

    /// Where the kernel forwards to, for all prefixes of a VRF or the one that covers an address.
    pub async fn kernel(
        &mut self,
        vrf: &VrfName,
        family: Family,
        address: Option<IpAddr>,
    ) -> anyhow::Result<BTreeMap<IpNet, Vec<String>>> {
        Ok(route::installed(&self.show(Daemon::Zebra, &route::show_rib(vrf, family, address)).await?)?)
    }

    /// Our Type-5 routes of a VRF.
    pub async fn type5(&mut self, state: &VniState) -> anyhow::Result<BTreeMap<IpNet, Type5>> {
        let Some(rd) = &state.rd else { return Ok(BTreeMap::new()) };
        Ok(route::type5(&self.show(Daemon::Bgpd, &route::show_type5(rd)).await?)?)
    }
}
