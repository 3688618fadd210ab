//! What the kernel has in the namespaces of the router that FRR does not show: router MACs of VTEPs, packet filters. In: the paths of the
//! router. Out: it by VRF, and why some was not read. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use crate::kernel::nftables::{self, others::DroppingTable};
use crate::kernel::{forwarded_vteps, netns};
use crate::runtime::Runtime;
use crate::types::{Vni, VrfName};

/// The namespace of a VRF: its own one in netns mode, else that of the router.
fn of_vrf(runtime: &Runtime, vrf: &VrfName) -> PathBuf {
    let own = runtime.vrf_netns(vrf);
    if own.exists() { own } else { runtime.router_netns().to_owned() }
}

/// The VTEPs for which the kernel has a router MAC in each of these VRFs, with their L3VNIs.
pub(super) async fn forwarded(
    runtime: &Runtime,
    l3vnis: &BTreeMap<VrfName, Vni>,
) -> (BTreeMap<VrfName, BTreeSet<IpAddr>>, Vec<anyhow::Error>) {
    let mut namespaces: BTreeMap<PathBuf, BTreeMap<Vni, &VrfName>> = BTreeMap::new();
    for (vrf, vni) in l3vnis {
        namespaces.entry(of_vrf(runtime, vrf)).or_default().insert(*vni, vrf);
    }
    let (mut found, mut errors) = (BTreeMap::new(), Vec::new());
    for (path, vrfs) in namespaces {
        let vnis = vrfs.keys().copied().collect();
        let read = async { anyhow::Ok(forwarded_vteps::read(netns::open(&path)?, &vnis).await?) };
        match read.await {
            Ok(vteps) => {
                let of_vrf = |(vni, vteps)| Some(((*vrfs.get(&vni)?).clone(), vteps));
                found.extend(vteps.into_iter().filter_map(of_vrf));
            }
            Err(error) => errors.push(error.context(path.display().to_string())),
        }
    }
    (found, errors)
}

/// The tables of others that drop packets in the namespace of the router (`None`), and in those that VRFs have for themselves.
pub(super) async fn packet_filters(
    runtime: &Runtime,
) -> (BTreeMap<Option<VrfName>, BTreeSet<DroppingTable>>, Vec<anyhow::Error>) {
    let (mut found, mut errors) = (BTreeMap::new(), Vec::new());
    let own = netns::list_vrfs(runtime).unwrap_or_else(|error| {
        errors.push(error.into());
        BTreeMap::new()
    });
    let own = own.into_keys().map(|vrf| (runtime.vrf_netns(&vrf), Some(vrf)));
    for (path, vrf) in std::iter::once((runtime.router_netns().to_owned(), None)).chain(own) {
        let read = async { anyhow::Ok(nftables::read_others(&netns::open(&path)?).await?) };
        match read.await {
            Ok(tables) if tables.is_empty() => {}
            Ok(tables) => drop(found.insert(vrf, tables)),
            Err(error) => errors.push(error.context(path.display().to_string())),
        }
    }
    (found, errors)
}
