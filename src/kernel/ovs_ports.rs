//! Between the database of Open vSwitch and the state of the router. In: the database, and an op. Out: what of it is ours, what of
//! it is relevant, and the transaction of an op. Pure.

use std::collections::BTreeSet;

use super::op::OvsOp;
use super::ovs_state::{OvsBridge, OvsPort, OvsState, bridge_name, port_name};
use crate::names;
use crate::ovs::transaction::{self, Transaction};
use crate::ovs::{Database, OvsError};

/// What of the database is relevant: where it changes, a reconcile pass is due.
#[derive(Debug, PartialEq, Eq)]
pub struct Relevant {
    ours: OvsState,
    /// One of them may be waited for.
    bridges: BTreeSet<String>,
    /// ovs-vswitchd has run.
    can_make_bridges: bool,
    /// Ports of others that have a name of ours.
    in_the_way: BTreeSet<String>,
}

/// What of the database is relevant.
pub fn relevant(database: &Database) -> Relevant {
    let (mut bridges, mut in_the_way) = (BTreeSet::new(), BTreeSet::new());
    for (_, bridge) in database.bridges() {
        bridges.insert(bridge.name.clone());
        let foreign = database.ports_of(bridge).filter(|port| port.owner.is_none());
        in_the_way.extend(foreign.map(|port| port.name.clone()).filter(|name| names::check_unreserved(name).is_err()));
    }
    let can_make_bridges = database.datapath_type().is_some();
    Relevant { ours: state(database), bridges, can_make_bridges, in_the_way }
}

/// What of the database is ours.
pub fn state(database: &Database) -> OvsState {
    let mut state = OvsState::default();
    for (_, bridge) in database.bridges() {
        if let Some(vni) = bridge.owner.filter(|vni| bridge.name == bridge_name(*vni).as_str()) {
            let own = database.interface(&bridge.name).and_then(|(_, own)| own.mtu_request);
            state.bridges.insert(vni, OvsBridge { mtu: own.and_then(|mtu| u32::try_from(mtu).ok()) });
        }
        for port in database.ports_of(bridge) {
            let Some(vni) = port.owner.filter(|vni| port.name == port_name(*vni).as_str()) else { continue };
            let attached = database.interface(&port.name).is_some_and(|(_, interface)| interface.is_attached());
            if let Ok(bridge) = bridge.name.parse() {
                state.ports.insert(vni, OvsPort { bridge, attached });
            }
        }
    }
    state
}

/// The transaction of an op.
///
/// # Errors
/// Where something of others is in the way, or the bridge is missing.
pub fn transaction(database: &Database, op: &OvsOp) -> Result<Transaction, OvsError> {
    match op {
        OvsOp::SetBridge { vni, mtu } => transaction::set_bridge(database, &bridge_name(*vni), *vni, *mtu),
        OvsOp::DeleteBridge(vni) => Ok(transaction::delete_bridge(database, &bridge_name(*vni), *vni)),
        OvsOp::AddPort { vni, bridge } => {
            // To make it by hand would make one of somebody else.
            if *bridge == bridge_name(*vni) && transaction::own_bridge(database, bridge, *vni)?.is_none() {
                return Err(OvsError::NotApplied);
            }
            transaction::add_port(database, bridge, &port_name(*vni), *vni)
        }
        OvsOp::DeletePort { vni, bridge } => Ok(transaction::delete_port(database, bridge, &port_name(*vni), *vni)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::Vni;

    /// A bridge of somebody else that has the name of ours gets no port.
    #[test]
    fn a_foreign_bridge_with_the_name_of_ours_gets_no_port() {
        let vni = Vni::try_from(110).unwrap();
        let with = |owner: serde_json::Value| {
            let mut database = Database::default();
            let bridge = json!({"new": {"name": "br-hs-110", "ports": ["set", []], "external_ids": ["map", owner]}});
            let switch = json!({"new": {"next_cfg": 1, "cur_cfg": 1, "datapath_types": "system"}});
            database.update(&json!({"Bridge": {"b": bridge}, "Open_vSwitch": {"o": switch}})).unwrap();
            database
        };
        let (ours, foreign) = (with(json!([["perouter-vni", "110"]])), with(json!([])));
        for op in [OvsOp::AddPort { vni, bridge: bridge_name(vni) }, OvsOp::SetBridge { vni, mtu: 1450 }] {
            assert!(!transaction(&ours, &op).unwrap().operations.is_empty(), "{op}");
            assert!(matches!(transaction(&foreign, &op), Err(OvsError::ForeignBridge(_))), "{op}");
        }
        let mut without = with(json!([]));
        without.update(&json!({"Bridge": {"b": {"old": {}}}})).unwrap();
        let added = transaction(&without, &OvsOp::AddPort { vni, bridge: bridge_name(vni) });
        assert!(matches!(added, Err(OvsError::NotApplied)), "nobody else shall make the bridge: {added:?}");
        let owned = OvsState { bridges: [(vni, OvsBridge { mtu: None })].into(), ..OvsState::default() };
        assert_eq!((state(&ours), state(&foreign)), (owned, OvsState::default()));
    }
}
