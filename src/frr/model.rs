//! The wanted FRR configuration, typed. In: from `plan`. Out: rendered to FRR's canonical text. Defaults of FRR are `None`
//! here and are not rendered (frr#22953: defaults that are applied again reset sessions). Pure data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::types::{Asn, Community, Family, IfName, RouteTarget, Secret, Vni, VrfName};

/// The whole configuration of one node's router.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouterConfig {
    /// The default BGP instance; `None` without an Underlay.
    pub underlay: Option<UnderlayInstance>,
    /// IP-VRFs. Never without an `underlay`.
    pub vrfs: BTreeMap<VrfName, IpVrf>,
}

impl RouterConfig {
    /// The host sessions of all IP-VRFs, by address family.
    pub fn host_sessions(&self) -> BTreeMap<Family, HostSessions> {
        let mut all: BTreeMap<Family, HostSessions> = BTreeMap::new();
        for (family, session) in self.vrfs.values().flat_map(|ip_vrf| &ip_vrf.sessions) {
            let of_family = all.entry(*family).or_default();
            of_family.subnets.push(session.subnet.subnet);
            of_family.routers.insert(session.subnet.router);
            of_family.hosts.extend(&session.next_hops);
            of_family.allowed |= session.inbound.is_some();
        }
        for of_family in all.values_mut() {
            of_family.subnets = IpNet::aggregate(&of_family.subnets);
            of_family.subnets.sort();
        }
        all
    }
}

/// The host sessions of all IP-VRFs in one address family: what the policies of the underlay must know of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSessions {
    /// Their subnets, those that complement each other as one.
    pub subnets: Vec<IpNet>,
    /// The addresses of the router in them.
    pub routers: BTreeSet<IpAddr>,
    /// The addresses of the host in them and of its sessions.
    pub hosts: BTreeSet<IpAddr>,
    /// Whether one of them has [`HostSession::inbound`].
    pub allowed: bool,
}

/// The BGP instance of the default VRF: IPv4/IPv6 unicast for VTEP reachability, L2VPN EVPN with `advertise-all-vni`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderlayInstance {
    /// AS number of the node.
    pub asn: Asn,
    /// BGP router id.
    pub router_id: Ipv4Addr,
    /// Peers in the fabric.
    pub neighbors: BTreeMap<Peer, Neighbor>,
    /// Prefixes advertised to the fabric underlay: the VTEP as /32 or /128.
    pub networks: BTreeSet<IpNet>,
    /// What the fabric may not advertise into the default instance, by family: our own VTEP, and parts of the subnets of our
    /// NICs. Everything else is accepted.
    pub own_prefixes: BTreeMap<Family, Vec<PrefixListEntry>>,
    /// Prefixes that neither a host nor the fabric may advertise in an IP-VRF.
    pub protected_prefixes: BTreeSet<IpNet>,
    /// Graceful restart.
    pub graceful_restart: Option<GracefulRestart>,
    /// L2VNIs with route targets of their own. All others need no line: `advertise-all-vni` finds them.
    pub l2vnis: BTreeMap<Vni, L2VniTargets>,
}

/// Route targets of an L2VNI. Never the derived one alone: FRR takes that for no configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct L2VniTargets {
    /// Import route targets; empty: derived by FRR.
    pub import: BTreeSet<RouteTarget>,
    /// Export route targets; empty: derived by FRR.
    pub export: BTreeSet<RouteTarget>,
}

/// The subnet of a host session. No host may advertise a part of it, since the hosts of all IP-VRFs are one node; the fabric
/// advertises only the addresses of other nodes' hosts in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSubnet {
    /// The subnet.
    pub subnet: IpNet,
    /// The address of the router in it, on every node.
    pub router: IpAddr,
}

/// How a peer is addressed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// By IP address.
    Address(IpAddr),
    /// By interface (unnumbered, RFC 8950).
    Interface(IfName),
}

impl Peer {
    /// Whether a session with it can carry unicast routes of a family. Next hops of IPv4 are those of RFC 8950 over IPv6. For IPv6
    /// over IPv4 there is nothing like that: FRR takes an address of the NIC, and without one does not establish the session.
    pub fn carries(&self, family: Family) -> bool {
        family == Family::Ipv4 || !matches!(self, Self::Address(IpAddr::V4(_)))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Interface(name) => name.fmt(f),
        }
    }
}

/// AS of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteAs {
    /// A known one.
    Asn(Asn),
    /// Any but that of the instance.
    External,
    /// That of the instance.
    Internal,
}

/// Session properties that fabric peers and hosts share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbor {
    /// AS of the peer.
    pub remote_as: RemoteAs,
    /// Whether its AS is known to differ from that of the instance (eBGP).
    pub external: bool,
    /// TCP port; `None` is 179.
    pub port: Option<u16>,
    /// Keepalive and hold time in seconds; `None` is FRR's default.
    pub timers: Option<(u16, u16)>,
    /// Connect retry in seconds; `None` is FRR's default.
    pub connect: Option<u16>,
    /// TCP MD5 password.
    pub password: Option<Secret>,
    /// `ebgp-multihop`; `None` is a directly connected peer.
    pub multihop: Option<u8>,
    /// BFD; rendered as a profile for this session alone.
    pub bfd: Option<Bfd>,
    /// Only the peer opens the TCP connection.
    pub passive: bool,
    /// The VTEP of this router from which the session starts; `None` is the address of the link towards the peer.
    pub update_source: Option<IpAddr>,
}

impl Neighbor {
    /// Whether the session carries unicast routes. Between loopbacks it needs them: a route to a loopback over a session with that
    /// loopback would lead to itself, and be removed and added time and again.
    pub fn has_unicast(&self) -> bool {
        self.update_source.is_none()
    }
}

/// BFD timers; `None` is FRR's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bfd {
    /// Milliseconds.
    pub receive_interval: Option<u32>,
    /// Milliseconds.
    pub transmit_interval: Option<u32>,
    /// Packets.
    pub detect_multiplier: Option<u8>,
    /// Passive mode.
    pub passive: bool,
    /// Least TTL (multihop).
    pub minimum_ttl: Option<u8>,
}

/// Graceful restart times in seconds; `None` is FRR's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GracefulRestart {
    /// `bgp graceful-restart restart-time`
    pub restart_time: Option<u16>,
    /// `bgp graceful-restart stalepath-time`
    pub stale_path_time: Option<u16>,
}

/// An IP-VRF with symmetric interface-less Type-5 routes (RFC 9136 section 4.4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpVrf {
    /// Its L3VNI.
    pub vni: Vni,
    /// AS number of this instance.
    pub asn: Asn,
    /// BGP router id: always set, since FRR would use the veth address otherwise, which is the same on all nodes, and derive
    /// the same route distinguisher from it.
    pub router_id: Ipv4Addr,
    /// Import route targets; empty: derived by FRR.
    pub import: BTreeSet<RouteTarget>,
    /// Export route targets; empty: derived by FRR.
    pub export: BTreeSet<RouteTarget>,
    /// Sessions with the host, one for each address family of `localcidr`. Shared: a node of a tree has room for eleven.
    pub sessions: BTreeMap<Family, Arc<HostSession>>,
    /// Static routes to the source addresses of host sessions, via the veth address of the host.
    pub routes: BTreeMap<IpNet, IpAddr>,
    /// Graceful restart on the host sessions.
    pub graceful_restart: Option<GracefulRestart>,
    /// Prefixes that this node itself advertises, to the host and as Type-5 routes: the host's session address, so that replies find
    /// this node, and the gateway subnets of segments.
    pub networks: BTreeSet<IpNet>,
    /// Aggregates; true is `summary-only`.
    pub aggregates: BTreeMap<IpNet, bool>,
    /// Communities added to every route that is advertised to the fabric.
    pub communities: BTreeSet<Community>,
}

/// A BGP session with the host, activated for its own address family only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSession {
    /// The host's address.
    pub address: IpAddr,
    /// Where the session runs.
    pub subnet: SessionSubnet,
    /// Session properties.
    pub neighbor: Neighbor,
    /// The next hops that its routes may have: this address, and that of its veth end.
    pub next_hops: BTreeSet<IpAddr>,
    /// What the host may advertise, without a match nothing; `None` is all but the default route. Never
    /// [`UnderlayInstance::protected_prefixes`] and the subnets of host sessions.
    pub inbound: Option<Vec<PrefixListEntry>>,
    /// What is advertised to the host; `None` is all.
    pub outbound: Option<Vec<PrefixListEntry>>,
    /// Prefix limit.
    pub max_prefixes: Option<u32>,
    /// Local preference for the host's routes.
    pub local_pref: Option<u32>,
    /// The AS number of the host is replaced with that of the instance in AS paths to the host.
    pub as_override: bool,
}

/// A line of a prefix list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixListEntry {
    /// Whether it permits, else it denies.
    pub permit: bool,
    /// The prefix.
    pub prefix: IpNet,
    /// Least prefix length.
    pub ge: Option<u8>,
    /// Greatest prefix length.
    pub le: Option<u8>,
}

impl PrefixListEntry {
    /// Permits every prefix of a family.
    pub fn everything(family: Family) -> Self {
        Self::within(default_route(family))
    }

    /// Matches the default route of a family.
    pub fn default_route(family: Family) -> Self {
        Self::exactly(default_route(family))
    }

    /// Whether it matches a prefix, as FRR compares them: without `ge` and `le` the prefix itself, else prefixes within it whose length
    /// is at least `ge` and at most `le`.
    pub fn matches(&self, prefix: &IpNet) -> bool {
        let length = self.prefix.prefix_len();
        let greatest = match (self.ge, self.le) {
            (None, None) => length,
            (_, le) => le.unwrap_or(self.prefix.max_prefix_len()),
        };
        self.prefix.contains(prefix) && (self.ge.unwrap_or(length)..=greatest).contains(&prefix.prefix_len())
    }

    /// Matches a prefix alone.
    pub fn exactly(prefix: IpNet) -> Self {
        Self { permit: true, prefix, ge: None, le: None }
    }

    /// Matches all single addresses of a family.
    pub fn addresses(family: Family) -> Self {
        let prefix = default_route(family);
        Self { permit: true, prefix, ge: Some(prefix.max_prefix_len()), le: None }
    }

    /// Matches a prefix and all prefixes that it covers.
    pub fn within(prefix: IpNet) -> Self {
        Self::up_to(prefix, prefix.max_prefix_len())
    }

    /// Matches a prefix and those that it covers, but no single address.
    pub fn within_but_hosts(prefix: IpNet) -> Self {
        Self::up_to(prefix, prefix.max_prefix_len().saturating_sub(1))
    }

    fn up_to(prefix: IpNet, longest: u8) -> Self {
        // FRR prints no `le` that allows no other length.
        Self { permit: true, prefix, ge: None, le: (prefix.prefix_len() < longest).then_some(longest) }
    }

    /// The same match, denied.
    #[must_use]
    pub fn denied(self) -> Self {
        Self { permit: false, ..self }
    }
}

fn default_route(family: Family) -> IpNet {
    match family {
        Family::Ipv4 => Ipv4Net::default().into(),
        Family::Ipv6 => Ipv6Net::default().into(),
    }
}
