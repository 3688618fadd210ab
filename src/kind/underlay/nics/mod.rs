//! Which NICs of the node an Underlay takes. In: its spec and neighbors, and what the node has of the NICs. Out: the NICs by
//! their primary names, and for each reason not to take one a rejection that names what is in the way and how to override it.
//! A NIC that the router has already is never given up here. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;

use super::spec::{NicOverride, UnderlaySpec};
use crate::frr::model::{Neighbor, Peer};
use crate::frr::release::Release;
use crate::kernel::model::{FixedLink, NicFacts, ObservedNics};
use crate::kind::check::{Check, Standing};
use crate::kind::object::Reason;
use crate::names;
use crate::types::IfName;

/// The NICs of an Underlay on this node.
#[derive(Debug, Default)]
pub(super) struct Nics {
    /// Those to take, by their primary names where they exist.
    pub taken: BTreeSet<IfName>,
    /// The alternative names by which the object names some of them.
    pub aliases: BTreeMap<IfName, IfName>,
    /// Every known name of a NIC that the object names, with the field that names it.
    pub names: BTreeMap<IfName, String>,
    /// The least MTU in bytes of those that exist.
    pub mtu: Option<u32>,
    /// Fields, and what is to be known about their NICs.
    pub notes: Vec<(String, String)>,
}

/// The primary name of a NIC that an object names in any way.
pub(super) fn primary(name: IfName, observed: Option<&ObservedNics>) -> IfName {
    let has_name = |nic: &&NicFacts| nic.name == name || nic.altnames.contains(&name);
    let by_asked = |observed: &ObservedNics| observed.get(&name).map(|nic| nic.name.clone());
    let found = observed
        .and_then(|observed| by_asked(observed).or_else(|| Some(observed.values().find(has_name)?.name.clone())));
    found.unwrap_or(name)
}

/// Selects the NICs.
pub(super) fn select(spec: &UnderlaySpec, neighbors: &BTreeMap<Peer, Neighbor>, check: &mut Check<'_>) -> Nics {
    let mut nics = Nics::default();
    let named = named(spec, check);
    let found: Vec<&NicFacts> = named.iter().filter_map(|(_, name)| check.node.nics?.get(name)).collect();
    let rules = Rules {
        overrides: &spec.nic_overrides,
        release: check.node.release,
        waiting_for: without_address(neighbors, &found),
        neighbors: numbered(neighbors),
    };
    // The router may have started with fewer NICs than it was to have: that one more cannot be taken must not stop it.
    let is_running = check.node.standing != Standing::Edited && found.iter().any(|nic| nic.taken);
    for (field, name) in named {
        let Some(observed) = check.node.nics else {
            nics.add(&field, &name, None);
            continue;
        };
        match observed.get(&name) {
            Some(nic) if nics.taken.contains(&nic.name) => {
                let text = format!("{name} is NIC {}, which is in the list already: remove one of the two", nic.name);
                check.reject(Reason::Invalid, &field, text);
            }
            Some(nic) => {
                let obstacles = if nic.taken { vec![] } else { rules.obstacles(nic) };
                let is_free = obstacles.is_empty();
                for (reason, text) in obstacles {
                    if is_running {
                        nics.notes.push((field.clone(), format!("the NIC is not taken: {text}")));
                    } else {
                        check.reject(reason, &field, text);
                    }
                }
                if is_free {
                    nics.add(&field, &name, Some(nic));
                }
            }
            None if check.node.standing == Standing::Edited => {
                let text = format!(
                    "this node has no NIC {name}: correct the name (ip link shows those of the node), or plug the NIC in"
                );
                check.reject(Reason::NicNotReady, &field, text);
            }
            // Whoever has one NIC of two has a router.
            None => nics.add(&field, &name, None),
        }
    }
    if found.iter().all(|nic| nic.taken || rules.covers(nic)) && !found.is_empty() {
        let text = |address: &IpAddr| {
            format!("no NIC has an address in a subnet with {address}: add one, or set ebgpMultiHop")
        };
        nics.notes.extend(rules.waiting_for.iter().map(|address| ("spec.neighbors".to_owned(), text(address))));
    }
    nics
}

/// The valid names, each with its field.
fn named(spec: &UnderlaySpec, check: &mut Check<'_>) -> Vec<(String, IfName)> {
    if spec.nics.is_empty() {
        check.reject(Reason::Invalid, "spec.nics", "is empty: set at least one NIC");
    }
    let mut named = Vec::new();
    for (i, raw) in spec.nics.iter().enumerate() {
        let field = format!("spec.nics[{i}]");
        let name = check.value(&field, raw.parse::<IfName>());
        let reserved = names::check_unreserved(raw).map_err(|why| format!("{raw:?} {why}"));
        if check.value(&field, reserved).is_some() {
            named.extend(name.map(|name| (field, name)));
        }
    }
    named
}

/// The neighbors that are reached over a connected subnet: all others need a route.
fn numbered(neighbors: &BTreeMap<Peer, Neighbor>) -> BTreeSet<IpAddr> {
    let connected = neighbors.iter().filter(|(_, neighbor)| neighbor.external && neighbor.multihop.is_none());
    connected.filter_map(|(peer, _)| if let Peer::Address(address) = peer { Some(*address) } else { None }).collect()
}

/// Those of the neighbors in whose subnet no NIC has an address.
fn without_address(neighbors: &BTreeMap<Peer, Neighbor>, nics: &[&NicFacts]) -> BTreeSet<IpAddr> {
    let is_connected = |address: &IpAddr| nics.iter().any(|nic| reaches(nic, *address));
    numbered(neighbors).into_iter().filter(|address| !is_connected(address)).collect()
}

fn reaches(nic: &NicFacts, address: IpAddr) -> bool {
    nic.addresses.iter().any(|net| net.contains(&address))
}

impl Nics {
    fn add(&mut self, field: &str, name: &IfName, nic: Option<&NicFacts>) {
        self.names.insert(name.clone(), field.to_owned());
        let Some(nic) = nic else {
            self.taken.insert(name.clone());
            return;
        };
        let names = nic.altnames.iter().chain([&nic.name]);
        self.names.extend(names.map(|name| (name.clone(), field.to_owned())));
        self.mtu = Some(self.mtu.map_or(nic.mtu, |least| least.min(nic.mtu)));
        self.taken.insert(nic.name.clone());
        if *name != nic.name {
            self.aliases.insert(nic.name.clone(), name.clone());
        }
        if let Some(text) = lease_note(nic) {
            self.notes.push((field.to_owned(), text));
        }
    }
}

/// Who renews a lease of a NIC.
fn lease_note(nic: &NicFacts) -> Option<String> {
    let leased = &nic.leased;
    let what = match (leased.is_empty(), nic.routes.dhcp) {
        (false, _) => format!("{} of NIC {} has a lifetime (DHCP or router advertisement)", list(leased), nic.name),
        (true, true) => format!("NIC {} is configured by DHCP", nic.name),
        (true, false) => return None,
    };
    Some(format!(
        "{what}, and nobody renews it while the router has the NIC; the router keeps it without a lifetime: reserve the \
         address, or configure it statically"
    ))
}

/// What decides whether a NIC of the host is taken.
struct Rules<'a> {
    overrides: &'a [NicOverride],
    release: Release,
    neighbors: BTreeSet<IpAddr>,
    /// The neighbors in whose subnet no NIC has an address.
    waiting_for: BTreeSet<IpAddr>,
}

impl Rules<'_> {
    /// Why a NIC is not taken.
    fn obstacles(&self, nic: &NicFacts) -> Vec<(Reason, String)> {
        if let Some(never) = never(nic, self.release) {
            return vec![never];
        }
        let use_other = "use another NIC";
        let mut found = Vec::new();
        let mut add = |reason, what: Option<String>, remedy: &str, unless: NicOverride| {
            if let Some(what) = what.filter(|_| !self.overrides.contains(&unless)) {
                let text = format!("NIC {} {what}: {remedy}, or add {unless} to spec.nicOverrides", nic.name);
                found.push((reason, text));
            }
        };
        let master = nic.master.as_ref().map(|master| format!("has master {master}, which would lose it"));
        add(Reason::NicInUse, master, "remove it from there", NicOverride::Master);
        let devices = nic.stacked.iter().map(|device| format!("{} ({})", device.name, device.kind));
        let stacked = (!nic.stacked.is_empty()).then(|| format!("carries {}, cut off without it", list(devices)));
        add(Reason::NicInUse, stacked, use_other, NicOverride::StackedDevices);
        let families = &nic.routes.only_default;
        let default = (!families.is_empty()).then(|| format!("has the node's only default route ({})", list(families)));
        add(Reason::NicInUse, default, use_other, NicOverride::DefaultRoute);
        let servers = &nic.routes.api_servers;
        let server = (!servers.is_empty()).then(|| format!("is the way to the API server {}", list(servers)));
        add(Reason::NicInUse, server, use_other, NicOverride::ApiServerRoute);
        let has_none = !self.covers(nic) && !self.waiting_for.is_empty();
        let no_address = has_none.then(|| self.without_address(nic));
        let remedy = format!(
            "add one on the host (ip address add ADDRESS/LENGTH dev {}), after which the NIC is taken without a restart, correct \
             spec.neighbors",
            nic.name
        );
        add(Reason::NicNotReady, no_address, &remedy, NicOverride::NoAddress);
        let settling =
            nic.settling.then(|| "got an address a moment ago, and the host may still configure it".to_owned());
        let remedy = "wait some seconds, after which the NIC is taken";
        add(Reason::NicNotReady, settling, remedy, NicOverride::NoAddress);
        found
    }

    fn without_address(&self, nic: &NicFacts) -> String {
        let has = if nic.addresses.is_empty() { "none".to_owned() } else { list(&nic.addresses) };
        format!("has no address in a subnet with neighbor {} (its addresses: {has})", list(&self.waiting_for))
    }

    /// Whether a NIC connects to a neighbor.
    fn covers(&self, nic: &NicFacts) -> bool {
        self.neighbors.iter().any(|address| reaches(nic, *address))
    }
}

/// Why a NIC can never be taken.
fn never(nic: &NicFacts, release: Release) -> Option<(Reason, String)> {
    let name = &nic.name;
    if nic.fixed == Some(FixedLink::Ours) || names::check_unreserved(name.as_str()).is_err() {
        return Some((
            Reason::Invalid,
            format!("{name} is a link of perouter or of the kernel: name a NIC of the node"),
        ));
    }
    match nic.kind.as_str() {
        "vrf" => Some((Reason::Invalid, format!("{name} is a VRF device: name a NIC of the node"))),
        "macvlan" | "macvtap" => {
            let why = release.macvlan_nics.err()?;
            Some((Reason::Unsupported, format!("{name} is a {} device: {why}", nic.kind)))
        }
        kind if nic.fixed == Some(FixedLink::Immovable) => {
            let kind = if kind.is_empty() { "device" } else { kind };
            let text = format!("the kernel does not move {name}, a {kind}, to the network namespace of the router");
            Some((Reason::Unsupported, format!("{text}: {}", names_instead(kind))))
        }
        _ => None,
    }
}

fn names_instead(kind: &str) -> &'static str {
    match kind {
        "bond" | "team" => "name its members, which FRR uses by ECMP, or a VLAN interface on top of it",
        "bridge" => "name its uplink, or one end of a veth pair whose other end is a port of it",
        _ => "name a physical, virtual function, VLAN or veth interface",
    }
}

fn list(items: impl IntoIterator<Item: Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
