//! What an op of a diff belongs to. In: the wanted and the observed state. Out: the [`Scope`] of an op. Pure.

use super::Differ;
use crate::kernel::model::{KernelState, LinkKey, ListenPort, Netns};
use crate::kernel::op::KernelOp;
use crate::names::OwnedName;
use crate::scope::Scope;
use crate::types::Vni;

impl<'a> Differ<'a> {
    /// What an op belongs to. A removal belongs to the IP-VRF that its link is in.
    pub(super) fn scope(&self, op: &KernelOp) -> Scope {
        match op {
            KernelOp::CreateNetns(vrf)
            | KernelOp::DeleteNetns(vrf)
            | KernelOp::SetSysctl { netns: Netns::Vrf(vrf), .. } => Scope::Vrf(vrf.clone()),
            KernelOp::AddSourceFilter(filter) | KernelOp::DelSourceFilter(filter) => {
                match (self.scope_of_vni(filter.table.vni), &filter.netns) {
                    // No link has this VNI, or it is that of a segment in the IP-VRF.
                    (Scope::Segment(vni), Netns::Vrf(vrf)) if !self.is_wanted_segment(vni) => Scope::Vrf(vrf.clone()),
                    (scope, _) => scope,
                }
            }
            KernelOp::Ovs(op) => Scope::Segment(op.vni()),
            KernelOp::AddUnreachable(table, _) | KernelOp::DelUnreachable(table, _) => {
                table.vni().map_or(Scope::Underlay, |vni| self.scope_of_vni(vni))
            }
            KernelOp::DeleteLink { key, .. } | KernelOp::ClosePort(ListenPort { on: key, .. }) => {
                let [wanted, observed] = self.scopes_of_link(key);
                observed.or(wanted).cloned().unwrap_or_else(|| self.scope_by_name(&key.name))
            }
            _ => op.link().map_or(Scope::Underlay, |key| {
                let [wanted, observed] = self.scopes_of_link(key);
                wanted.or(observed).cloned().unwrap_or_else(|| self.scope_by_name(&key.name))
            }),
        }
    }

    /// As wanted and as observed.
    fn scopes_of_link(&self, key: &LinkKey) -> [Option<&Scope>; 2] {
        let [wanted, observed] = [self.wanted, self.observed].map(|state| Some(&state.links.get(key)?.scope));
        // A link that is observed outside of an IP-VRF may have lost its master.
        [wanted, observed.filter(|scope| !matches!(scope, Scope::Segment(_)))]
    }

    fn scope_by_name(&self, name: &OwnedName) -> Scope {
        match name {
            OwnedName::Vrf(vrf) => Scope::Vrf(vrf.clone()),
            OwnedName::Vni(_, vni) => self.scope_of_vni(*vni),
        }
    }

    fn scope_of_vni(&self, vni: Vni) -> Scope {
        let scopes = self.scopes.get_or_init(|| {
            let (wanted, observed): (&'a KernelState, &'a KernelState) = (self.wanted, self.observed);
            let in_vrf = observed.links.iter().filter(|(_, link)| matches!(link.scope, Scope::Vrf(_)));
            in_vrf.chain(&wanted.links).filter_map(|(key, link)| Some((key.name.vni()?, &link.scope))).collect()
        });
        scopes.get(&vni).map_or(Scope::Segment(vni), |scope| (*scope).clone())
    }

    fn is_wanted_segment(&self, vni: Vni) -> bool {
        self.wanted.links.iter().any(|(key, link)| link.segment && key.name.vni() == Some(vni))
    }
}
