//! Queries to the FRR of this node. In: its paths. Out: typed answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use ipnet::IpNet;

use super::options::ModeChoice;
use crate::diagnose::facts::DuplicateAddresses;
use crate::diagnose::filtered::Filtered;
use crate::frr::client::port::Routing as _;
use crate::frr::client::vty_routing::VtyRouting;
use crate::frr::release::Release;
use crate::frr::show::bfd::BfdPeer;
use crate::frr::show::interface::{self, Interface};
use crate::frr::show::mac::{self, MacState, NeighborState};
use crate::frr::show::neighbor::{self, SessionReset};
use crate::frr::show::route::{self, InstalledHop, Match, Path, ReceivedRoute, Type5, as_numbers, has_asn};
use crate::frr::show::session::{SessionKey, SessionState};
use crate::frr::show::type2::{self, Type2};
use crate::frr::show::type5::{self, Type5Route};
use crate::frr::show::vni::{VniState, VniType};
use crate::runtime::{Daemon, Runtime};
use crate::types::{Asn, Family, MacAddr, Vni, VrfMode, VrfName};

/// bgpd is busy for 0.4 s at most while it receives 100 000 routes.
const VTY_LIMIT: Duration = Duration::from_secs(10);

/// The vty sockets of a router's daemons.
pub fn routing(runtime: &Runtime) -> VtyRouting {
    VtyRouting::new(runtime.frr_dir(), VTY_LIMIT)
}

/// The mode of a running router, which the choice must not contradict.
pub async fn mode_of_router(choice: ModeChoice, runtime: &Runtime) -> anyhow::Result<VrfMode> {
    let Some(running) = routing(runtime).mode().await? else { return choice.resolve() };
    let fits = match choice {
        ModeChoice::Auto => true,
        ModeChoice::Netns => running == VrfMode::Netns,
        ModeChoice::Vrf => running == VrfMode::Vrf,
    };
    if !fits {
        anyhow::bail!(
            "the router runs in {running} mode: use the same --vrf-mode for router and controller, or omit it"
        );
    }
    Ok(running)
}

/// The error that a VRF is none of those of this router.
pub fn unknown_vrf(vrf: &str, known: &BTreeSet<&str>) -> anyhow::Error {
    let known = if known.is_empty() { "none".to_owned() } else { known.iter().copied().collect::<Vec<_>>().join(", ") };
    anyhow::anyhow!("VRF {vrf} not found; VRFs of this router: {known}")
}

/// The FRR of a running router.
pub struct FrrQueries {
    vty: VtyRouting,
    frr_dir: PathBuf,
    hint: String,
}

impl FrrQueries {
    /// To the router with these paths.
    pub fn of(runtime: &Runtime) -> Self {
        let hint =
            format!("no answer from FRR in {} (is `perouter run` running on this node?)", runtime.frr_dir().display());
        Self { vty: routing(runtime), frr_dir: runtime.frr_dir(), hint }
    }

    async fn show(&mut self, daemon: Daemon, command: &str) -> anyhow::Result<String> {
        self.vty.show(daemon, command).await.with_context(|| self.hint.clone())
    }

    /// What a daemon prints.
    pub async fn text(&mut self, daemon: Daemon, command: &str) -> anyhow::Result<String> {
        self.show(daemon, command).await
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

    /// Routes that the filter of a host session rejects; none of a session that is not established, or with the fabric.
    pub async fn filtered(&mut self, session: &SessionState) -> anyhow::Result<Vec<Filtered>> {
        let Some(vrf) = &session.vrf else { return Ok(vec![]) };
        let routes = self.filtered_routes(session).await?;
        let (Ok(peer), false) = (session.peer.parse::<IpAddr>(), routes.is_empty()) else { return Ok(vec![]) };
        // A host that is not on the veth subnet is reached by a static route to its veth address.
        let via = self.kernel(vrf, Family::of(&peer.into()), Some(peer)).await?;
        let via = via.values().flatten().filter_map(|hop| hop.address);
        let own: BTreeSet<IpAddr> = via.chain([peer]).collect();
        let mut filtered: Vec<_> = routes.iter().map(|route| Filtered::new(route, &own)).collect();
        filtered.sort();
        Ok(filtered)
    }

    /// The routes that cover an address and that a host session rejects: the AS number of this router is in their path. Routes of others
    /// that the host returns are none of them.
    pub async fn looped(
        &mut self,
        (session, reset): (&SessionState, Option<&SessionReset>),
        address: IpAddr,
    ) -> anyhow::Result<Vec<ReceivedRoute>> {
        let family = Family::of(&address.into());
        let own = reset.and_then(|reset| Asn::try_from(u32::try_from(reset.local_as?).ok()?).ok());
        let own = own.filter(|_| session.families().contains(&family));
        let (Some(vrf), Some(own)) = (&session.vrf, own) else { return Ok(vec![]) };
        let shown = self.show(Daemon::Bgpd, &route::show_received(vrf, family, &session.peer)).await?;
        let mut received = route::received(&shown)?;
        let is_of_host =
            |route: &ReceivedRoute| as_numbers(&route.as_path).all(|asn| asn == own || session.remote_as == Some(asn));
        received.retain(|route| route.prefix.contains(&address) && has_asn(&route.as_path, own) && is_of_host(route));
        Ok(received)
    }

    /// The daemons that do not answer, with the error of each.
    pub async fn silent(&mut self) -> BTreeMap<String, String> {
        let without_release = [Daemon::Zebra, Daemon::Bgpd, Daemon::Bfdd, Daemon::Staticd];
        let version = self.vty.version().await.ok();
        let release = version.and_then(|version| Release::of(&version).ok());
        let daemons = release.map_or(&without_release[..], |release| release.daemons);
        let mut silent = BTreeMap::new();
        for daemon in daemons {
            if let Err(error) = self.vty.show(*daemon, "show version").await {
                silent.insert(daemon.to_string(), format!("{:#}", anyhow::Error::from(error)));
            }
        }
        silent
    }

    /// Whether FRR has been started here.
    pub fn has_sockets(&self) -> bool {
        self.frr_dir.join("zebra.vty").exists()
    }

    /// Links of all VRFs.
    pub async fn interfaces(&mut self) -> anyhow::Result<BTreeMap<String, Interface>> {
        let mut links = interface::interfaces(&self.show(Daemon::Zebra, interface::SHOW_INTERFACES).await?)?;
        // Each namespace of a VRF has links of its own, `lo` at least: by name, those of the underlay count.
        links.extend(interface::interfaces(&self.show(Daemon::Zebra, interface::SHOW_DEFAULT_INTERFACES).await?)?);
        Ok(links)
    }

    /// Installed routes of the default instance, with their next hops.
    pub async fn underlay(&mut self) -> anyhow::Result<BTreeMap<IpNet, Vec<InstalledHop>>> {
        let mut found = BTreeMap::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            let shown = self.show(Daemon::Zebra, route::show_underlay_rib(family)).await?;
            found.extend(route::installed(&shown)?);
        }
        Ok(found)
    }

    /// The routes that the filter of a session rejects.
    pub async fn filtered_routes(&mut self, session: &SessionState) -> anyhow::Result<Vec<ReceivedRoute>> {
        self.vty.filtered(session).await.with_context(|| self.hint.clone())
    }

    /// BFD sessions.
    pub async fn bfd_peers(&mut self) -> anyhow::Result<Vec<BfdPeer>> {
        self.vty.bfd_peers().await.with_context(|| self.hint.clone())
    }

    /// VNIs of both types.
    pub async fn vnis(&mut self) -> anyhow::Result<BTreeMap<Vni, VniState>> {
        self.vty.vnis().await.with_context(|| self.hint.clone())
    }

    /// The MAC addresses of an L2VNI.
    pub async fn macs(&mut self, vni: Vni) -> anyhow::Result<BTreeMap<MacAddr, MacState>> {
        Ok(mac::macs(&self.show(Daemon::Zebra, &mac::show_macs(vni)).await?)?)
    }

    /// The IP addresses of an L2VNI.
    pub async fn mac_neighbors(&mut self, vni: Vni) -> anyhow::Result<BTreeMap<IpAddr, NeighborState>> {
        Ok(mac::neighbors(&self.show(Daemon::Zebra, &mac::show_neighbors(vni)).await?)?)
    }

    /// The addresses that zebra takes for duplicates, by L2VNI.
    pub async fn duplicates(&mut self) -> anyhow::Result<BTreeMap<Vni, DuplicateAddresses>> {
        let macs = mac::duplicate_macs(&self.show(Daemon::Zebra, mac::SHOW_DUPLICATE_MACS).await?)?;
        let shown = self.show(Daemon::Zebra, mac::SHOW_DUPLICATE_NEIGHBORS).await?;
        let mut found: BTreeMap<Vni, DuplicateAddresses> = BTreeMap::new();
        for (vni, macs) in macs {
            found.entry(vni).or_default().macs.extend(macs.into_keys());
        }
        for (vni, neighbors) in mac::duplicate_neighbors(&shown)? {
            let duplicates = found.entry(vni).or_default();
            let others = neighbors.into_iter().filter(|(_, neighbor)| !duplicates.macs.contains(&neighbor.mac));
            duplicates.ips.extend(others.map(|(ip, _)| ip));
        }
        found.retain(|_, duplicates| *duplicates != DuplicateAddresses::default());
        Ok(found)
    }

    /// All Type-5 routes with their paths.
    pub async fn all_type5(&mut self) -> anyhow::Result<Vec<Type5Route>> {
        Ok(type5::all_type5(&self.show(Daemon::Bgpd, type5::SHOW_ALL_TYPE5).await?)?)
    }

    /// A prefix of a VRF.
    pub async fn matched_prefix(&mut self, vrf: &VrfName, prefix: &IpNet) -> anyhow::Result<Option<Match>> {
        Ok(route::matched(&self.show(Daemon::Bgpd, &route::show_match(vrf, &prefix.to_string())).await?)?)
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
    ) -> anyhow::Result<BTreeMap<IpNet, Vec<InstalledHop>>> {
        Ok(route::installed(&self.show(Daemon::Zebra, &route::show_rib(vrf, family, address)).await?)?)
    }

    /// Our MAC/IP routes of an L2VNI.
    pub async fn type2(&mut self, state: &VniState) -> anyhow::Result<BTreeMap<IpAddr, Type2>> {
        let Some(rd) = &state.rd else { return Ok(BTreeMap::new()) };
        Ok(type2::type2(&self.show(Daemon::Bgpd, &route::show_type5(rd)).await?)?)
    }

    /// The L2VNIs in a VRF.
    pub async fn l2vnis(&mut self, vrf: &VrfName) -> anyhow::Result<BTreeMap<Vni, VniState>> {
        let mut vnis = self.vnis().await?;
        vnis.retain(|_, state| state.vni_type == VniType::L2 && state.vrf == vrf.as_str());
        Ok(vnis)
    }

    /// Our Type-5 routes of a VRF.
    pub async fn type5(&mut self, state: &VniState) -> anyhow::Result<BTreeMap<IpNet, Type5>> {
        let Some(rd) = &state.rd else { return Ok(BTreeMap::new()) };
        Ok(route::type5(&self.show(Daemon::Bgpd, &route::show_type5(rd)).await?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    /// A zebra that prints this to each command.
    async fn zebra(listener: UnixListener, text: &str) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                for _ in buffer[..count].iter().filter(|byte| **byte == 0) {
                    stream.write_all(text.as_bytes()).await.unwrap();
                    stream.write_all(&[0; 4]).await.unwrap();
                }
            }
        }
    }

    #[tokio::test]
    async fn the_mode_of_a_running_router_counts_whatever_this_kernel_has() {
        for (text, mode, other) in [
            (" VRF    Namespaces\n", VrfMode::Netns, ModeChoice::Vrf),
            (" VRF    l3mdev Available\n", VrfMode::Vrf, ModeChoice::Netns),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let runtime = Runtime::new(dir.path(), dir.path().join("netns"));
            std::fs::create_dir(runtime.frr_dir()).unwrap();
            let listener = UnixListener::bind(runtime.frr_dir().join("zebra.vty")).unwrap();
            let serving = tokio::spawn(zebra(listener, text));
            assert_eq!(mode_of_router(ModeChoice::Auto, &runtime).await.unwrap(), mode);
            let error = mode_of_router(other, &runtime).await.unwrap_err().to_string();
            let expected = format!(
                "the router runs in {mode} mode: use the same --vrf-mode for router and controller, or omit it"
            );
            assert_eq!(error, expected);
            serving.abort();
        }
    }
}
