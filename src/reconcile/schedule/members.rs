//! The links of each IP-VRF, and to which scope a kernel operation belongs. In: kernel state. Out: names. Pure.

use std::collections::BTreeMap;

use crate::kernel::KernelOp;
use crate::kernel::model::{KernelState, LinkKey, LinkKind, Netns};
use crate::names::{OwnedName, Role};
use crate::scope::Scope;
use crate::types::{Vni, VrfName};

/// Links by IP-VRF.
pub(super) type Members<'a> = BTreeMap<&'a VrfName, Vec<&'a LinkKey>>;

/// The links of each IP-VRF: those in its namespace or under its device, and the host end of its veth pair.
pub(super) fn members(state: &KernelState) -> Members<'_> {
    let mut members = Members::new();
    for (key, link) in &state.links {
        let vrf = match (&key.netns, &key.name, &link.kind) {
            (Netns::Vrf(vrf), ..) | (_, OwnedName::Vrf(vrf), _) => Some(vrf),
            (_, _, LinkKind::Veth { peer }) if key.netns == Netns::Host => vrf_above(state, peer),
            _ => vrf_above(state, key),
        };
        if let Some(vrf) = vrf {
            members.entry(vrf).or_default().push(key);
        }
    }
    members
}

/// The VRF of the namespace of a link, or the VRF device at the top of its masters.
fn vrf_above<'a>(state: &'a KernelState, key: &'a LinkKey) -> Option<&'a VrfName> {
    if let Netns::Vrf(vrf) = &key.netns {
        return Some(vrf);
    }
    match state.links.get(key)?.master.as_ref()? {
        OwnedName::Vrf(vrf) => Some(vrf),
        bridge @ OwnedName::Vni(Role::Bridge, _) => {
            let bridge = LinkKey { netns: key.netns.clone(), name: bridge.clone() };
            let (bridge, _) = state.links.get_key_value(&bridge)?;
            vrf_above(state, bridge)
        }
        OwnedName::Vni(..) => None,
    }
}

/// The IP-VRF of each VNI, wanted or observed.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<Vni, VrfName>);

impl Owners {
    /// From the observed and the wanted links; the latter take precedence.
    pub(super) fn new(observed: &Members<'_>, wanted: &Members<'_>) -> Self {
        let both = observed.iter().chain(wanted);
        let of_vrf =
            |(vrf, keys): (&&VrfName, &Vec<&LinkKey>)| vnis(keys).map(|vni| (vni, (*vrf).clone())).collect::<Vec<_>>();
        Self(both.flat_map(of_vrf).collect())
    }

    /// The scope of a kernel operation.
    pub(super) fn scope(&self, op: &KernelOp) -> Scope {
        let by_vni = || op.vni().and_then(|vni| self.0.get(&vni));
        op.vrf().or_else(by_vni).cloned().map_or(Scope::Underlay, Scope::Vrf)
    }
}

fn vnis(keys: &[&LinkKey]) -> impl Iterator<Item = Vni> {
    keys.iter().filter_map(|key| key.name.vni())
}
