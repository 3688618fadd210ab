//! VNIs as zebra and bgpd have them, with whether bgpd's instances have zebra's VRFs. In: exchanges with both. Out: one
//! [`VniState`] for each VNI, and what of an L2VNI is of this node.

use std::collections::{BTreeMap, BTreeSet};

use super::session_start::Exchange;
use crate::frr::client::port::RoutingError;
use crate::frr::show::ShowError;
use crate::frr::show::mac::{self, LocalNeighbors};
use crate::frr::show::vni::{self, LocalCounts, VniState, VniType};
use crate::frr::show::vrf::SHOW_VRF;
use crate::frr::show::vrf_binding::{self, SHOW_INSTANCES};
use crate::runtime::Daemon;
use crate::types::Vni;

/// Up to so many VNIs are read one by one.
const FEW: usize = 8;

/// All of them.
pub(super) async fn all(daemons: &mut impl Exchange) -> Result<BTreeMap<Vni, VniState>, RoutingError> {
    let zebra = daemons.ask(Daemon::Zebra, vni::SHOW_ZEBRA_VNI).await?;
    let bgpd = daemons.ask(Daemon::Bgpd, vni::SHOW_BGP_VNI).await?;
    bound(daemons, vni::vnis(&zebra, &bgpd).map_err(unreadable)?).await
}

/// These at least, at a cost that hardly grows with the number of all.
pub(super) async fn of(
    daemons: &mut impl Exchange,
    wanted: &BTreeSet<Vni>,
) -> Result<BTreeMap<Vni, VniState>, RoutingError> {
    if wanted.len() > FEW {
        return all(daemons).await;
    }
    let (mut zebra, mut bgpd) = (Vec::new(), Vec::new());
    for vni in wanted {
        zebra.push(daemons.ask(Daemon::Zebra, &vni::show_zebra_vni(*vni)).await?);
        bgpd.push(daemons.ask(Daemon::Bgpd, &vni::show_bgp_vni(*vni)).await?);
    }
    bound(daemons, vni::vnis(&vni::listed(&zebra), &vni::listed(&bgpd)).map_err(unreadable)?).await
}

/// The same with whether the instances of their VRFs are bound. FRR 8.4 prints those of one VRF only with all others.
async fn bound(
    daemons: &mut impl Exchange,
    mut states: BTreeMap<Vni, VniState>,
) -> Result<BTreeMap<Vni, VniState>, RoutingError> {
    // Of an L3VNI that zebra does not have up it is too early to ask.
    if states.values().any(|state| state.vni_type == VniType::L3 && state.up) {
        let ids = vrf_binding::vrf_ids(&daemons.ask(Daemon::Zebra, SHOW_VRF).await?);
        let instances = daemons.ask(Daemon::Bgpd, SHOW_INSTANCES).await?;
        vni::bind(&mut states, &ids, &vrf_binding::instances(&instances).map_err(unreadable)?);
    }
    Ok(states)
}

/// The neighbors of an L2VNI that are workloads of this node; `None` for a VNI that zebra does not have. The MAC addresses are read only
/// where a neighbor is not advertised.
pub(super) async fn local_neighbors(
    daemons: &mut impl Exchange,
    vni: Vni,
) -> Result<Option<LocalNeighbors>, RoutingError> {
    let shown = daemons.ask(Daemon::Zebra, &mac::show_neighbors(vni)).await?;
    let mut found = mac::local_neighbors(&shown).map_err(of_zebra)?;
    if let Some(found) = found.as_mut().filter(|found| !found.unlearned.is_empty()) {
        let learned = mac::local_macs(&daemons.ask(Daemon::Zebra, &mac::show_macs(vni)).await?).map_err(of_zebra)?;
        found.unlearned.retain(|mac| !learned.contains(mac));
    }
    Ok(found)
}

/// How many MAC addresses and neighbors of an L2VNI are of workloads of this node.
pub(super) async fn local_counts(daemons: &mut impl Exchange, vni: Vni) -> Result<LocalCounts, RoutingError> {
    let macs = daemons.ask(Daemon::Zebra, &mac::show_macs(vni)).await?;
    let neighbors = daemons.ask(Daemon::Zebra, &mac::show_neighbors(vni)).await?;
    Ok(LocalCounts {
        macs: mac::local_mac_count(&macs).map_err(of_zebra)?,
        neighbors: mac::local_neighbor_count(&neighbors).map_err(of_zebra)?,
    })
}

fn of_zebra(source: ShowError) -> RoutingError {
    RoutingError::Unreadable { daemon: Daemon::Zebra, source }
}

/// The error of a daemon whose output cannot be read.
pub(super) fn unreadable(source: ShowError) -> RoutingError {
    let daemon = if source.command == vni::SHOW_ZEBRA_VNI { Daemon::Zebra } else { Daemon::Bgpd };
    RoutingError::Unreadable { daemon, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FRR with the L3VNI of red up in both daemons.
    struct Daemons {
        vrfs: &'static str,
        instances: &'static str,
    }

    impl Exchange for Daemons {
        async fn ask(&mut self, daemon: Daemon, command: &str) -> Result<String, RoutingError> {
            const ZEBRA: &str =
                r#"{"vni":100,"type":"L3","state":"Up","tenantVrf":"red","routerMac":"02:00:00:00:00:02"}"#;
            const BGPD: &str = r#"{"vni":100,"type":"L3","inKernel":"True"}"#;
            Ok(match (daemon, command) {
                (Daemon::Zebra, SHOW_VRF) => self.vrfs.to_owned(),
                (Daemon::Bgpd, SHOW_INSTANCES) => format!("{{\"vrfs\":{}}}", self.instances),
                (Daemon::Zebra, vni::SHOW_ZEBRA_VNI) => format!("[{ZEBRA}]"),
                (Daemon::Bgpd, vni::SHOW_BGP_VNI) => format!("{{\"100\":{BGPD}}}"),
                (Daemon::Zebra, "show evpn vni 100 json") => ZEBRA.to_owned(),
                (Daemon::Bgpd, "show bgp l2vpn evpn vni 100 json") => BGPD.to_owned(),
                other => panic!("{other:?}"),
            })
        }

        async fn send_to_bgpd(&mut self, lines: &[&str]) -> Result<(), RoutingError> {
            panic!("{lines:?}")
        }
    }

    #[tokio::test]
    async fn an_l3vni_is_ready_only_where_the_instance_of_its_vrf_is_listed_with_the_id_of_zebra() {
        let cases = [
            ("vrf red id 5 table 1100\n", r#"{"red":{"vrfId":5}}"#, true),
            ("vrf red id 9 table 1100\n", r#"{"red":{"vrfId":5}}"#, false),
            ("vrf red id 9 table 1100\n", r#"{"red":{"vrfId":-1}}"#, false),
            ("vrf red id 9 table 1100\n", "{}", false),
            ("vrf red inactive (configured)\n", r#"{"red":{"vrfId":5}}"#, false),
            ("", r#"{"red":{"vrfId":5}}"#, false),
        ];
        let vni = Vni::try_from(100).unwrap();
        for (vrfs, instances, expected) in cases {
            let mut daemons = Daemons { vrfs, instances };
            let found = [all(&mut daemons).await, of(&mut daemons, &[vni].into()).await];
            let ready = found.map(|states| states.unwrap()[&vni].is_ready());
            assert_eq!(ready, [expected; 2], "{vrfs} {instances}");
        }
    }
}
