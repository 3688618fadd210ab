//! Transactions that add and remove ports and bridges (RFC 7047 section 5.2). In: what the database has, and the change. Out:
//! operations, none where the database has the change already. What somebody else has made is not changed. Pure.

use serde_json::{Value, json};

use super::database::{Database, OWNER, RowId};
use super::error::OvsError;
use crate::types::{IfName, Vni};

/// A transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transaction {
    /// Operations; none where the database has the change.
    pub operations: Vec<Value>,
    /// The port that is attached to the switch afterwards.
    pub attached: Option<IfName>,
}

/// Makes a bridge for a VNI whose own interface has this MTU in bytes, or gives that of ours this MTU.
///
/// # Errors
/// Where somebody else has made a bridge of this name.
pub fn set_bridge(database: &Database, bridge: &IfName, vni: Vni, mtu: u32) -> Result<Transaction, OvsError> {
    let name = bridge.as_str();
    let operations = match own_bridge(database, bridge, vni)? {
        Some(_) => match database.interface(name) {
            Some((_, own)) if own.mtu_request == Some(i64::from(mtu)) => vec![],
            _ => vec![json!({
                "op": "update", "table": "Interface", "where": [["name", "==", name]], "row": {"mtu_request": mtu},
            })],
        },
        None => vec![
            json!({
                "op": "insert", "table": "Interface", "uuid-name": "interface",
                "row": {"name": name, "type": "internal", "mtu_request": mtu},
            }),
            json!({
                "op": "insert", "table": "Port", "uuid-name": "port",
                "row": {"name": name, "interfaces": ["named-uuid", "interface"]},
            }),
            json!({
                "op": "insert", "table": "Bridge", "uuid-name": "bridge",
                "row": {
                    "name": name, "ports": ["named-uuid", "port"], "datapath_type": database.datapath_type(),
                    "external_ids": owned_by(vni),
                },
            }),
            change_set("Open_vSwitch", &json!([]), "bridges", "insert", &json!(["named-uuid", "bridge"])),
        ],
    };
    Ok(Transaction { operations, attached: None })
}

/// The bridge of a VNI; `None` where it can be made.
///
/// # Errors
/// Where somebody else has made a bridge of this name, or ovs-vswitchd has never run, so that it is not known which kind it can make.
pub fn own_bridge<'a>(database: &'a Database, bridge: &IfName, vni: Vni) -> Result<Option<&'a RowId>, OvsError> {
    match database.bridge(bridge.as_str()) {
        Some((_, found)) if found.owner != Some(vni) => Err(OvsError::ForeignBridge(bridge.clone())),
        Some((id, _)) => Ok(Some(id)),
        None if database.datapath_type().is_none() => Err(OvsError::NotApplied),
        None => Ok(None),
    }
}

/// Removes the bridge of a VNI with all its ports.
pub fn delete_bridge(database: &Database, bridge: &IfName, vni: Vni) -> Transaction {
    let ours = database.bridge(bridge.as_str()).filter(|(_, found)| found.owner == Some(vni));
    let delete = |(id, _): (&RowId, _)| change_set("Open_vSwitch", &json!([]), "bridges", "delete", &id.json());
    Transaction { operations: ours.map(delete).into_iter().collect(), attached: None }
}

/// Adds an interface of the host as a port of a bridge.
///
/// # Errors
/// Where there is no such bridge, somebody else has made a port of this name, or ours is in another bridge.
pub fn add_port(database: &Database, bridge: &IfName, port: &IfName, vni: Vni) -> Result<Transaction, OvsError> {
    let (id, _) = database.bridge(bridge.as_str()).ok_or_else(|| OvsError::NoBridge(bridge.clone()))?;
    let attached = Some(port.clone());
    if let Some((_, found, of)) = database.port(port.as_str()) {
        let (port, of) = (port.clone(), of.name.clone());
        if found.owner != Some(vni) {
            return Err(OvsError::ForeignPort { port, bridge: of });
        }
        if of != bridge.as_str() {
            return Err(OvsError::PortElsewhere { port, bridge: of });
        }
        return Ok(Transaction { operations: vec![], attached });
    }
    let operations = vec![
        // It may be removed meanwhile.
        json!({
            "op": "wait", "timeout": 0, "table": "Bridge", "where": [["name", "==", bridge.as_str()]], "columns": ["name"],
            "until": "==", "rows": [{"name": bridge.as_str()}],
        }),
        json!({"op": "insert", "table": "Interface", "uuid-name": "interface", "row": {"name": port.as_str()}}),
        json!({
            "op": "insert", "table": "Port", "uuid-name": "port",
            "row": {"name": port.as_str(), "interfaces": ["named-uuid", "interface"], "external_ids": owned_by(vni)},
        }),
        change_set("Bridge", &by_id(id), "ports", "insert", &json!(["named-uuid", "port"])),
    ];
    Ok(Transaction { operations, attached })
}

/// Removes a port of ours from a bridge.
pub fn delete_port(database: &Database, bridge: &IfName, port: &IfName, vni: Vni) -> Transaction {
    let ours = database
        .port(port.as_str())
        .filter(|(_, found, of)| found.owner == Some(vni) && of.name == bridge.as_str())
        .zip(database.bridge(bridge.as_str()));
    let delete = |((port, ..), (id, _)): ((&RowId, _, _), (&RowId, _))| {
        change_set("Bridge", &by_id(id), "ports", "delete", &port.json())
    };
    Transaction { operations: ours.map(delete).into_iter().collect(), attached: None }
}

/// Notifies ovs-vswitchd, and reads the number by which it reports that it has applied the configuration, as ovs-vsctl does.
pub fn notify() -> [Value; 2] {
    [
        json!({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}),
        json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]}),
    ]
}

fn owned_by(vni: Vni) -> Value {
    json!(["map", [[OWNER, vni.to_string()]]])
}

fn by_id(id: &RowId) -> Value {
    json!([["_uuid", "==", id.json()]])
}

fn change_set(table: &str, rows: &Value, column: &str, mutator: &str, member: &Value) -> Value {
    json!({"op": "mutate", "table": table, "where": rows, "mutations": [[column, mutator, ["set", [member]]]]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> IfName {
        text.parse().unwrap()
    }

    fn vni() -> Vni {
        Vni::try_from(110).unwrap()
    }

    /// Bridge `pods` with ports `eth7` of others and `host-110` with this owner.
    fn database(owner: &Value) -> Database {
        let row = |row: Value| json!({"new": row});
        let port = |name: &str, interface: &str, ids: &Value| {
            row(json!({"name": name, "interfaces": ["uuid", interface], "external_ids": ["map", ids]}))
        };
        let interface =
            |name: &str| row(json!({"name": name, "ofport": 1, "error": ["set", []], "mtu_request": ["set", []]}));
        let mut database = Database::default();
        let tables = json!({
            "Bridge": {"b": row(json!({"name": "pods", "ports": ["set", [["uuid", "p"], ["uuid", "q"]]], "external_ids": ["map", []]}))},
            "Port": {"p": port("eth7", "i", &json!([])), "q": port("host-110", "j", owner)},
            "Interface": {"i": interface("eth7"), "j": interface("host-110")},
            "Open_vSwitch": {"o": row(json!({"next_cfg": 3, "cur_cfg": 2, "datapath_types": ["set", ["netdev", "system"]]}))},
        });
        database.update(&tables).unwrap();
        database
    }

    #[test]
    fn a_port_of_somebody_else_is_neither_added_nor_removed() {
        for owner in [json!([]), json!([["perouter-vni", "120"]]), json!([["perouter-vni", "x"]])] {
            let database = database(&owner);
            let added = add_port(&database, &name("pods"), &name("host-110"), vni()).unwrap_err().to_string();
            assert_eq!(added, "Open vSwitch has a port host-110 in bridge pods that is not from perouter");
            let deleted = delete_port(&database, &name("pods"), &name("host-110"), vni());
            assert_eq!(deleted, Transaction::default());
        }
    }

    #[test]
    fn a_port_of_ours_is_left_and_removed_alone() {
        let database = database(&json!([["other", "x"], ["perouter-vni", "110"]]));
        let added = add_port(&database, &name("pods"), &name("host-110"), vni()).unwrap();
        assert_eq!(added, Transaction { operations: vec![], attached: Some(name("host-110")) });
        let deleted = delete_port(&database, &name("pods"), &name("host-110"), vni());
        let expected = json!({
            "op": "mutate", "table": "Bridge", "where": [["_uuid", "==", ["uuid", "b"]]],
            "mutations": [["ports", "delete", ["set", [["uuid", "q"]]]]],
        });
        assert_eq!(deleted.operations, [expected]);
        assert_eq!(delete_port(&database, &name("other"), &name("host-110"), vni()), Transaction::default());
    }

    #[test]
    fn a_port_of_ours_in_another_bridge_is_named_as_ours() {
        let mut database = database(&json!([["perouter-vni", "110"]]));
        let other = json!({"new": {"name": "other", "ports": ["set", []], "external_ids": ["map", []]}});
        database.update(&json!({"Bridge": {"c": other}})).unwrap();
        let added = add_port(&database, &name("other"), &name("host-110"), vni()).unwrap_err().to_string();
        assert_eq!(added, "Open vSwitch still has the port host-110 of perouter in bridge pods");
    }

    #[test]
    fn a_bridge_of_somebody_else_is_neither_changed_nor_removed() {
        let database = database(&json!([]));
        assert!(matches!(set_bridge(&database, &name("pods"), vni(), 1450), Err(OvsError::ForeignBridge(_))));
        assert_eq!(delete_bridge(&database, &name("pods"), vni()), Transaction::default());
        assert!(matches!(add_port(&database, &name("none"), &name("host-110"), vni()), Err(OvsError::NoBridge(_))));
    }

    #[test]
    fn a_new_bridge_is_of_user_space_where_the_kernel_has_none() {
        let mut database = database(&json!([]));
        assert_eq!((database.datapath_type(), database.is_current()), (Some("system"), false));
        let never_run = json!({"new": {"next_cfg": 0, "cur_cfg": 0, "datapath_types": ["set", []]}});
        database.update(&json!({"Open_vSwitch": {"o": never_run}})).unwrap();
        assert!(matches!(set_bridge(&database, &name("br-hs-110"), vni(), 1450), Err(OvsError::NotApplied)));
        let switch = json!({"new": {"next_cfg": 3, "cur_cfg": 3, "datapath_types": "netdev"}});
        database.update(&json!({"Open_vSwitch": {"o": switch}})).unwrap();
        assert_eq!((database.datapath_type(), database.is_current()), (Some("netdev"), true));
        let made = set_bridge(&database, &name("br-hs-110"), vni(), 1450).unwrap();
        assert_eq!(made.operations[2]["row"]["datapath_type"], "netdev");
    }

    #[test]
    fn rows_that_are_deleted_are_gone() {
        let mut database = database(&json!([["perouter-vni", "110"]]));
        let ports = json!({"old": {}, "new": {"name": "pods", "ports": ["uuid", "p"], "external_ids": ["map", []]}});
        database
            .update(&json!({"Bridge": {"b": ports}, "Port": {"q": {"old": {}}}, "Interface": {"j": {"old": {}}}}))
            .unwrap();
        assert!(database.port("host-110").is_none() && database.interface("host-110").is_none());
        assert!(database.port("eth7").is_some());
        assert!(database.update(&json!({"Bridge": {"b": {"new": {"name": 7}}}})).is_err());
    }
}
