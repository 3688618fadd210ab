//! The names of perouter's prefix lists, route maps and BFD profiles: the one place that both generates and recognises them,
//! so that observed text finds its [`Scope`] and a foreign policy is left alone. Pure.
//!
//! * `pe-<scope>-<use>-<digest>` for prefix lists and route maps,
//! * `pe-underlay-subnets-<family>`, `…-hosts-…` and `…-routers-…` for the prefix lists of host sessions,
//! * `pe-vrf-<vrf>-bfd-<family>` and `pe-underlay-bfd-<peer>` for BFD profiles,
//!
//! where a scope is `underlay`, `vrf-<vrf>`, `vni-<vni>`, `passthrough` or `raw-<namespace>/<name>`.
//!
//! The digest is that of the content. A policy never changes under its name: a new one is configured, one line points the
//! neighbor at it (FRR then refreshes the routes of that peer at once), and the old one is removed. So no filter is ever in
//! force by half, and FRR does not wait the 5 s that follow a change inside a route map.
//!
//! The lists of host sessions have no digest: the sessions of all IP-VRFs use them, and each IP-VRF has lines of its own in
//! them, so that it is added and removed without another policy for the sessions of the others. A line is in force by itself,
//! for what arrives from then on; 5 s later FRR filters again what it has.

use std::fmt;

use ipnet::IpNet;

use crate::frr::model::Peer;
use crate::scope::Scope;
use crate::types::{Family, Vni, VrfName};

/// What a prefix list or route map filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyUse {
    /// Routes from a host; those of the underlay are shared by all hosts.
    In(Family),
    /// Routes from hosts whose prefixes another list allows; in the underlay only.
    Allowed(Family),
    /// All single addresses.
    Addresses(Family),
    /// The parts of our own prefixes that the fabric may not advertise in the default instance.
    Own(Family),
    /// What the fabric may not advertise in IP-VRFs.
    Protected(Family),
    /// Routes of IP-VRFs from the fabric.
    Evpn,
    /// Routes to the host; in the underlay to the fabric.
    Out(Family),
    /// Routes of the VRF that become Type-5 routes.
    Fabric,
    /// Routes that an aggregate suppresses, on their way to Type-5 routes.
    Parts(Family),
}

impl PolicyUse {
    /// The family of what it matches; `None`: any.
    pub fn family(self) -> Option<Family> {
        match self {
            Self::In(family)
            | Self::Allowed(family)
            | Self::Addresses(family)
            | Self::Own(family)
            | Self::Protected(family)
            | Self::Out(family)
            | Self::Parts(family) => Some(family),
            Self::Evpn | Self::Fabric => None,
        }
    }
}

impl fmt::Display for PolicyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(family) => write!(f, "in-{}", short(*family)),
            Self::Allowed(family) => write!(f, "allowed-{}", short(*family)),
            Self::Addresses(family) => write!(f, "addresses-{}", short(*family)),
            Self::Own(family) => write!(f, "own-{}", short(*family)),
            Self::Protected(family) => write!(f, "protected-{}", short(*family)),
            Self::Evpn => f.write_str("evpn"),
            Self::Out(family) => write!(f, "out-{}", short(*family)),
            Self::Fabric => f.write_str("fabric"),
            Self::Parts(family) => write!(f, "parts-{}", short(*family)),
        }
    }
}

/// `v4` or `v6`.
pub fn short(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "v4",
        Family::Ipv6 => "v6",
    }
}

/// Name of a prefix list or route map of `scope` whose text is `content`.
pub fn policy(scope: &Scope, used: PolicyUse, content: &str) -> String {
    format!("{}-{used}-{:08x}", prefix(scope), digest(content))
}

/// A prefix list with a line of each IP-VRF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedList {
    /// The subnets of host sessions.
    Subnets,
    /// The addresses of this node's hosts.
    Hosts,
    /// The addresses of the router in these subnets.
    Routers,
}

/// Name of a prefix list with a line of each IP-VRF.
pub fn shared_list(list: SharedList, family: Family) -> String {
    let list = match list {
        SharedList::Subnets => "subnets",
        SharedList::Hosts => "hosts",
        SharedList::Routers => "routers",
    };
    format!("pe-underlay-{list}-{}", short(family))
}

/// Whether this is the name of such a list.
pub fn is_shared_list(name: &str) -> bool {
    let lists = [SharedList::Subnets, SharedList::Hosts, SharedList::Routers];
    lists.iter().any(|list| [Family::Ipv4, Family::Ipv6].iter().any(|family| shared_list(*list, *family) == name))
}

/// The number, from 1, of a line in a [`SharedList`]. Of IPv4: the address in the middle of the prefix, which no other prefix has that may be in the same list.
pub fn line_number(prefix: &IpNet) -> u32 {
    match prefix {
        IpNet::V4(net) => {
            let hosts = u32::from(net.hostmask());
            let middle = if hosts == 0 { 0 } else { (hosts >> 1) + 1 };
            (u32::from(net.network()) | middle).max(1)
        }
        IpNet::V6(net) => digest(&net.to_string()).max(1),
    }
}

/// Name of the BFD profile of a host session.
pub fn host_bfd(vrf: &VrfName, family: Family) -> String {
    format!("pe-vrf-{vrf}-bfd-{}", short(family))
}

/// Name of the BFD profile of a fabric peer.
pub fn fabric_bfd(peer: &Peer) -> String {
    format!("pe-underlay-bfd-{peer}")
}

/// The scope of a policy or profile; `None` for a name that is not perouter's.
pub fn scope_of(name: &str) -> Option<Scope> {
    let rest = name.strip_prefix("pe-")?;
    if rest.starts_with("underlay-") {
        return Some(Scope::Underlay);
    }
    if rest.starts_with("passthrough-") {
        return Some(Scope::Passthrough);
    }
    let (kind, rest) = rest.split_once('-')?;
    let id = without_use(rest)?;
    match kind {
        "vrf" => id.parse().ok().map(Scope::Vrf),
        "vni" => Vni::try_from(id.parse::<u32>().ok()?).ok().map(Scope::Segment),
        "raw" => id.contains('/').then(|| Scope::Raw(id.to_owned())),
        _ => None,
    }
}

/// Cuts off `-<use>-<digest>` or `-bfd-<family>`. What is in front may have dashes; the uses are known: cut from the right.
fn without_use(name: &str) -> Option<&str> {
    const USES: [&str; 7] = ["-in-v4", "-in-v6", "-out-v4", "-out-v6", "-fabric", "-parts-v4", "-parts-v6"];
    let (head, tail) = name.rsplit_once('-')?;
    let profile = head.strip_suffix("-bfd").filter(|_| matches!(tail, "v4" | "v6"));
    profile.or_else(|| USES.iter().find_map(|used| head.strip_suffix(used)))
}

fn prefix(scope: &Scope) -> String {
    match scope {
        Scope::Underlay => "pe-underlay".to_owned(),
        Scope::Vrf(vrf) => format!("pe-vrf-{vrf}"),
        Scope::Segment(vni) => format!("pe-vni-{vni}"),
        Scope::Passthrough => "pe-passthrough".to_owned(),
        Scope::Raw(object) => format!("pe-raw-{object}"),
    }
}

/// FNV-1a, 32 bit: the same in all builds and on all machines, unlike the standard library's hasher.
fn digest(content: &str) -> u32 {
    content.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const USES: [PolicyUse; 4] =
        [PolicyUse::In(Family::Ipv4), PolicyUse::Out(Family::Ipv6), PolicyUse::Fabric, PolicyUse::Parts(Family::Ipv6)];

    #[rstest]
    #[case(Scope::Segment(Vni::try_from(110).unwrap()))]
    #[case(Scope::Passthrough)]
    #[case(Scope::Raw("default/in-v4".to_owned()))]
    fn policies_of_every_scope_are_recognised(#[case] scope: Scope) {
        for used in USES {
            assert_eq!(scope_of(&policy(&scope, used, "x")), Some(scope.clone()));
        }
    }

    #[rstest]
    #[case("red")]
    #[case("bfd-v4")]
    #[case("a-in-v4")]
    #[case("underlay")]
    fn generated_names_are_recognised(#[case] vrf: &str) {
        let scope = Scope::Vrf(vrf.parse().unwrap());
        for used in USES {
            assert_eq!(scope_of(&policy(&scope, used, "x")), Some(scope.clone()));
        }
        assert_eq!(scope_of(&host_bfd(&vrf.parse().unwrap(), Family::Ipv6)), Some(scope));
    }

    #[rstest]
    #[case("pe-underlay-bfd-2001:db8::2", Some(Scope::Underlay))]
    #[case("pe-underlay-out-v4-00000000", Some(Scope::Underlay))]
    #[case("pe-underlay-hosts-v4", Some(Scope::Underlay))]
    #[case("pe-vrf-red", None)]
    #[case("pe-vni-red-in-v4-00000000", None)]
    #[case("pe-other-red-in-v4-00000000", None)]
    #[case("mine", None)]
    fn foreign_names_are_not_recognised(#[case] name: &str, #[case] scope: Option<Scope>) {
        assert_eq!(scope_of(name), scope);
    }

    #[test]
    fn the_name_depends_on_the_content() {
        let scope = Scope::Underlay;
        assert_ne!(policy(&scope, PolicyUse::Fabric, "a"), policy(&scope, PolicyUse::Fabric, "b"));
    }
}
