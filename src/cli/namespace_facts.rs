//! What the kernel has in the namespaces of the router that FRR does not show: router MACs of VTEPs, packet filters, neighbors. In:
//! the paths of the router. Out: it by VRF, and why some was not read. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::diagnose::facts::{PacketFilters, Unresolved};
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

/// What is read in each namespace of the router: its own (`None`), and those that VRFs have for themselves. A namespace that cannot be read
/// costs nothing but itself.
async fn in_each<T>(
    runtime: &Runtime,
    read: impl AsyncFn(File) -> anyhow::Result<T>,
) -> (BTreeMap<Option<VrfName>, (PathBuf, T)>, Vec<anyhow::Error>) {
    let (mut found, mut errors) = (BTreeMap::new(), Vec::new());
    let own = netns::list_vrfs(runtime).unwrap_or_else(|error| {
        errors.push(error.into());
        BTreeMap::new()
    });
    let own = own.into_keys().map(|vrf| (Some(vrf.clone()), runtime.vrf_netns(&vrf)));
    for (vrf, path) in std::iter::once((None, runtime.router_netns().to_owned())).chain(own) {
        let opened = netns::open(&path).map_err(anyhow::Error::from);
        let result = match opened {
            Ok(file) => read(file).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(value) => drop(found.insert(vrf, (path, value))),
            Err(error) => errors.push(error.context(path.display().to_string())),
        }
    }
    (found, errors)
}

/// The tables of others that may drop packets, by namespace; none of one without any.
pub(super) async fn packet_filters(
    runtime: &Runtime,
) -> (BTreeMap<Option<VrfName>, PacketFilters>, Vec<anyhow::Error>) {
    let (found, errors) = in_each(runtime, async |file| Ok(nftables::read_others(&file).await?)).await;
    let with_path = |(vrf, (path, tables)): (_, (PathBuf, BTreeSet<_>))| {
        (!tables.is_empty()).then(|| (vrf, PacketFilters { netns: path.display().to_string(), tables }))
    };
    (found.into_iter().filter_map(with_path).collect(), errors)
}

/// The addresses that nobody answers for, by ARP or Neighbor Discovery, each with the link: of each namespace.
pub(super) async fn unresolved(runtime: &Runtime) -> (BTreeMap<Option<VrfName>, Unresolved>, Vec<anyhow::Error>) {
    let (found, errors) = in_each(runtime, async |file| Ok(unresolved::read(file).await?)).await;
    (found.into_iter().map(|(vrf, (_, addresses))| (vrf, addresses)).collect(), errors)
}
