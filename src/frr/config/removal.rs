//! How one scope is removed from FRR. In: what FRR runs, and the scope. Out: the command lines in order. It must not decide
//! whether a scope is removed. Pure.

use super::batch::{BatchStage, CommandBatch, batch};
use super::changes::{emptied, removals};
use super::command::LineChange;
use super::line::Line;
use super::tree::{Config, Tree};
use crate::runtime::Daemon;
use crate::scope::Scope;

/// The lines that remove a scope: `before` its network namespace or VRF device is deleted, and `after` that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// In order.
    pub before: Vec<CommandBatch>,
    /// Once zebra has the VRF as inactive: `no vrf X`. Never `no netns`, at which zebra 8.4 aborts.
    pub after: Vec<CommandBatch>,
}

/// How `scope` is removed, given what FRR runs of it.
pub fn removal(observed: &Config, scope: &Scope) -> Removal {
    let nothing = Tree::default();
    let mut before = Vec::new();
    let zebra = observed.tree(scope, Daemon::Zebra).map(|tree| match scope {
        // Only the VNI: the `vrf` stanza itself stays until its namespace or device is gone.
        Scope::Vrf(_) => emptied(tree),
        Scope::Underlay | Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => removals(tree, &nothing, &[]),
    });
    before.extend(batch(BatchStage::NoVni, Daemon::Zebra, scope, zebra.unwrap_or_default()));
    let routes = observed.tree(scope, Daemon::Staticd).map(emptied).unwrap_or_default();
    before.extend(batch(BatchStage::NoVni, Daemon::Staticd, scope, routes));
    let (policies, instances): (Vec<_>, Vec<_>) = observed
        .tree(scope, Daemon::Bgpd)
        .map(|tree| removals(tree, &nothing, &[]))
        .unwrap_or_default()
        .into_iter()
        .partition(|change| change.line.after("no router").is_none());
    before.extend(batch(BatchStage::NoInstance, Daemon::Bgpd, scope, instances));
    before.extend(batch(BatchStage::Leftovers, Daemon::Bgpd, scope, policies));
    let profiles = observed.tree(scope, Daemon::Bfdd).map(emptied).unwrap_or_default();
    before.extend(batch(BatchStage::Leftovers, Daemon::Bfdd, scope, profiles));
    let vrf = match scope {
        Scope::Vrf(name) => vec![LineChange { path: vec![], line: Line::new(&format!("no vrf {name}")) }],
        Scope::Underlay | Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => vec![],
    };
    Removal { before, after: batch(BatchStage::NoVrf, Daemon::Zebra, scope, vrf).into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::config::command::Intent;

    const VRF_RED: [(Daemon, &str); 3] = [
        (Daemon::Zebra, "vrf red\n vni 100\n"),
        (
            Daemon::Bgpd,
            "router bgp 64514 vrf red\n bgp router-id 10.0.0.1\nip prefix-list pe-vrf-red-in-v4-0000000a seq 5 permit \
             10.0.0.0/8\nroute-map pe-vrf-red-in-v4-0000000a permit 10\n",
        ),
        (Daemon::Bfdd, "bfd\n profile pe-vrf-red-bfd-v4\n"),
    ];

    fn sent(batch: &CommandBatch) -> Vec<&str> {
        batch.commands.iter().filter(|c| c.intent == Intent::Set).map(|c| c.line.send()).collect()
    }

    #[test]
    fn a_removal_begins_with_the_vni_and_ends_with_the_vrf() {
        let mut observed = Config::default();
        for (daemon, text) in VRF_RED {
            assert!(observed.absorb(daemon, Tree::parse(text)).is_empty());
        }
        let Removal { before, after } = removal(&observed, &Scope::Vrf("red".parse().unwrap()));
        let steps: Vec<_> = before.iter().map(|batch| (batch.daemon, batch.retry, sent(batch))).collect();
        let expected = [
            (Daemon::Zebra, false, vec!["no vni 100"]),
            (Daemon::Bgpd, true, vec!["no router bgp 64514 vrf red"]),
            (
                Daemon::Bgpd,
                false,
                vec![
                    "no route-map pe-vrf-red-in-v4-0000000a permit 10",
                    "no ip prefix-list pe-vrf-red-in-v4-0000000a seq 5",
                ],
            ),
            (Daemon::Bfdd, false, vec!["no profile pe-vrf-red-bfd-v4"]),
        ];
        assert_eq!(steps, expected);
        assert_eq!(after.iter().flat_map(sent).collect::<Vec<_>>(), ["no vrf red"]);
    }
}
