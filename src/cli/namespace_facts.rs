//! What the kernel has in the namespaces of the router that FRR does not show: router MACs of VTEPs, packet filters, neighbors. In: the paths of the
//! router. Out: it by VRF, and why some was not read. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use crate::diagnose::facts::PacketFilters;
use crate::kernel::{forwarded_vteps, netns, nftables, unresolved};
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

/// The namespaces of the router: its own (`None`), and those that VRFs have for themselves.
fn all(runtime: &Runtime) -> anyhow::Result<Vec<(Option<VrfName>, PathBuf)>> {
    let own = netns::list_vrfs(runtime)?.into_keys().map(|vrf| (Some(vrf.clone()), runtime.vrf_netns(&vrf)));
    Ok(std::iter::once((None, runtime.router_netns().to_owned())).chain(own).collect())
}

/// The tables of others that may drop packets, by namespace; none of one without any.
pub(super) async fn packet_filters(runtime: &Runtime) -> anyhow::Result<BTreeMap<Option<VrfName>, PacketFilters>> {
    let mut found = BTreeMap::new();
    for (vrf, path) in all(runtime)? {
        let tables = nftables::read_others(&netns::open(&path)?).await?;
        if !tables.is_empty() {
            found.insert(vrf, PacketFilters { netns: path.display().to_string(), tables });
        }
    }
    Ok(found)
}

/// The addresses that nobody answers for, by ARP or Neighbor Discovery, each with the link: of each namespace.
pub(super) async fn unresolved(
    runtime: &Runtime,
) -> anyhow::Result<BTreeMap<Option<VrfName>, BTreeMap<IpAddr, String>>> {
    let mut found = BTreeMap::new();
    for (vrf, path) in all(runtime)? {
        found.insert(vrf, unresolved::read(netns::open(&path)?).await?);
    }
    Ok(found)
}
