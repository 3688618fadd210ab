//! What the database of Open vSwitch has of bridges and ports. In: updates of a monitor (RFC 7047 sections 4.1.5 and 4.1.6). Out: rows
//! by id, and answers about names. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::error::OvsError;
pub use super::value::RowId;
use super::value::{self, integer, optional_integer, string, strings};
use crate::types::Vni;

/// The key in `external_ids` of what is ours; its value is the VNI.
pub const OWNER: &str = "perouter-vni";

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its ports.
    pub ports: BTreeSet<RowId>,
    /// Whose VNI it is of, if it is ours.
    pub owner: Option<Vni>,
}

/// A port of a bridge: one interface, or several that are bonded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its interfaces.
    pub interfaces: BTreeSet<RowId>,
    /// Whose VNI it is of, if it is ours.
    pub owner: Option<Vni>,
}

/// An interface of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvsInterface {
    /// Its name.
    pub name: String,
    /// Its number in the switch, which ovs-vswitchd assigns: -1 where it failed, `None` where it did nothing yet.
    pub number: Option<i64>,
    /// Why it failed.
    pub error: Option<String>,
    /// The MTU in bytes that ovs-vswitchd gives it.
    pub mtu_request: Option<i64>,
}

impl OvsInterface {
    /// Whether it is in the switch.
    pub fn is_attached(&self) -> bool {
        self.number.is_some_and(|number| number >= 0)
    }
}

/// The switch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Switch {
    next_cfg: i64,
    cur_cfg: i64,
    datapath_types: BTreeSet<String>,
}

/// What the database has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Database {
    bridges: BTreeMap<RowId, Bridge>,
    ports: BTreeMap<RowId, Port>,
    interfaces: BTreeMap<RowId, OvsInterface>,
    switches: BTreeMap<RowId, Switch>,
}

impl Database {
    /// What a monitor requests.
    pub fn monitored() -> Value {
        json!({
            "Open_vSwitch": {"columns": ["next_cfg", "cur_cfg", "datapath_types"]},
            "Bridge": {"columns": ["name", "ports", "external_ids"]},
            "Port": {"columns": ["name", "interfaces", "external_ids"]},
            "Interface": {"columns": ["name", "ofport", "error", "mtu_request"]},
        })
    }

    /// Applies the table updates of a monitor.
    ///
    /// # Errors
    /// Where they have another shape.
    pub fn update(&mut self, tables: &Value) -> Result<(), OvsError> {
        for (table, rows) in tables.as_object().ok_or(OvsError::Unexpected("update"))? {
            for (id, row) in rows.as_object().ok_or(OvsError::Unexpected("update of a table"))? {
                let (id, row) = (RowId::new(id.as_str()), row.get("new").filter(|row| !row.is_null()));
                match table.as_str() {
                    "Bridge" => set(&mut self.bridges, id, row.map(bridge))?,
                    "Port" => set(&mut self.ports, id, row.map(port))?,
                    "Interface" => set(&mut self.interfaces, id, row.map(interface))?,
                    "Open_vSwitch" => set(&mut self.switches, id, row.map(switch))?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The bridges, by id.
    pub fn bridges(&self) -> impl Iterator<Item = (&RowId, &Bridge)> {
        self.bridges.iter()
    }

    /// The bridge of this name.
    pub fn bridge(&self, name: &str) -> Option<(&RowId, &Bridge)> {
        self.bridges.iter().find(|(_, bridge)| bridge.name == name)
    }

    /// The ports of a bridge.
    pub fn ports_of<'a>(&'a self, bridge: &'a Bridge) -> impl Iterator<Item = &'a Port> {
        bridge.ports.iter().filter_map(|id| self.ports.get(id))
    }

    /// The port of this name, and the bridge that has it.
    pub fn port(&self, name: &str) -> Option<(&RowId, &Port, &Bridge)> {
        let (id, port) = self.ports.iter().find(|(_, port)| port.name == name)?;
        let bridge = self.bridges.values().find(|bridge| bridge.ports.contains(id))?;
        Some((id, port, bridge))
    }

    /// The interface of this name.
    pub fn interface(&self, name: &str) -> Option<(&RowId, &OvsInterface)> {
        self.interfaces.iter().find(|(_, interface)| interface.name == name)
    }

    /// Whether ovs-vswitchd has applied the configuration of this number.
    pub fn has_applied(&self, number: i64) -> bool {
        self.switches.values().any(|switch| switch.cur_cfg >= number)
    }

    /// Whether ovs-vswitchd has applied all that it was notified of.
    pub fn is_current(&self) -> bool {
        self.switches.values().all(|switch| switch.cur_cfg >= switch.next_cfg)
    }

    /// The `datapath_type` of a new bridge: that of the kernel, or of user space where ovs-vswitchd runs without the former. `None`
    /// where ovs-vswitchd has not run yet.
    pub fn datapath_type(&self) -> Option<&'static str> {
        let types = self.switches.values().map(|switch| &switch.datapath_types).find(|types| !types.is_empty())?;
        Some(if types.contains("system") { "system" } else { "netdev" })
    }
}

fn set<T>(rows: &mut BTreeMap<RowId, T>, id: RowId, row: Option<Result<T, OvsError>>) -> Result<(), OvsError> {
    match row.transpose()? {
        Some(row) => rows.insert(id, row),
        None => rows.remove(&id),
    };
    Ok(())
}

fn owner(row: &Value) -> Result<Option<Vni>, OvsError> {
    let ids = value::map(&row["external_ids"])?;
    Ok(ids.get(OWNER).and_then(|text| Vni::try_from(text.parse::<u32>().ok()?).ok()))
}

fn bridge(row: &Value) -> Result<Bridge, OvsError> {
    Ok(Bridge { name: string(&row["name"])?, ports: value::ids(&row["ports"])?, owner: owner(row)? })
}

fn port(row: &Value) -> Result<Port, OvsError> {
    Ok(Port { name: string(&row["name"])?, interfaces: value::ids(&row["interfaces"])?, owner: owner(row)? })
}

fn interface(row: &Value) -> Result<OvsInterface, OvsError> {
    Ok(OvsInterface {
        name: string(&row["name"])?,
        number: optional_integer(&row["ofport"])?,
        error: strings(&row["error"])?.into_iter().next(),
        mtu_request: optional_integer(&row["mtu_request"])?,
    })
}

fn switch(row: &Value) -> Result<Switch, OvsError> {
    Ok(Switch {
        next_cfg: integer(&row["next_cfg"])?,
        cur_cfg: integer(&row["cur_cfg"])?,
        datapath_types: strings(&row["datapath_types"])?,
    })
}
