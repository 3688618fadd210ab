//! The names of the prefix lists, route maps and BFD profiles that we put into FRR: the one place that both makes and
//! recognises them, so that observed text finds its [`Scope`] and a foreign policy is left alone. Pure.
//!
//! * `pe-vrf-<vrf>-<part>-<digest>` and `pe-underlay-out-<family>-<digest>` for prefix lists and route maps,
//! * `pe-vrf-<vrf>-bfd-<family>` and `pe-underlay-bfd-<peer>` for BFD profiles.
//!
//! The digest is one of the content. A policy never changes under its name: a new one is made beside it, the neighbor is
//! pointed at it in one line (FRR then refreshes the routes of that peer at once), and the old one goes. So there is no
//! moment with half a filter, and none of the 5 s that FRR waits after a change inside a route map.

use std::fmt;

use crate::frr::model::Peer;

use crate::scope::Scope;
use crate::types::{Family, VrfName};

/// What a prefix list or route map is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// From the host; in the underlay from the fabric.
    In(Family),
    /// From hosts, whatever the prefix; in the underlay only.
    Host,
    /// To the host; in the underlay to the fabric.
    Out(Family),
    /// From the VRF into Type-5 routes.
    Fabric,
    /// The parts of aggregates that go alone into Type-5 routes.
    Parts(Family),
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(family) => write!(f, "in-{}", short(*family)),
            Self::Host => f.write_str("host"),
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
pub fn policy(scope: &Scope, used: Use, content: &str) -> String {
    format!("{}-{used}-{:08x}", prefix(scope), digest(content))
}

/// Name of the BFD profile of a host session.
pub fn host_bfd(vrf: &VrfName, family: Family) -> String {
    format!("pe-vrf-{vrf}-bfd-{}", short(family))
}

/// Name of the BFD profile of a fabric peer.
pub fn fabric_bfd(peer: &Peer) -> String {
    format!("pe-underlay-bfd-{peer}")
}

/// Whose policy or profile `name` is. `None`: not ours.
pub fn scope_of(name: &str) -> Option<Scope> {
    if name.starts_with("pe-underlay-") {
        return Some(Scope::Underlay);
    }
    let rest = name.strip_prefix("pe-vrf-")?;
    // A VRF name may hold a dash, the parts behind it are known: cut them off from the right.
    let (head, tail) = rest.rsplit_once('-')?;
    let vrf = if let Some(vrf) = head.strip_suffix("-bfd").filter(|_| matches!(tail, "v4" | "v6")) {
        vrf
    } else {
        let parts = ["-in-v4", "-in-v6", "-out-v4", "-out-v6", "-fabric", "-parts-v4", "-parts-v6"];
        parts.iter().find_map(|part| head.strip_suffix(part))?
    };
    vrf.parse().ok().map(Scope::Vrf)
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

/// FNV-1a, 32 bit: stable over builds and machines, unlike the standard library's hasher.
fn digest(content: &str) -> u32 {
    content.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("red")]
    #[case("bfd-v4")]
    #[case("a-in-v4")]
    #[case("underlay")]
    fn what_we_name_we_recognise(#[case] vrf: &str) {
        let scope = Scope::Vrf(vrf.parse().unwrap());
        for used in [Use::In(Family::Ipv4), Use::Out(Family::Ipv6), Use::Fabric, Use::Parts(Family::Ipv6)] {
            assert_eq!(scope_of(&policy(&scope, used, "x")), Some(scope.clone()));
        }
        assert_eq!(scope_of(&host_bfd(&vrf.parse().unwrap(), Family::Ipv6)), Some(scope));
    }

    #[rstest]
    #[case("pe-underlay-bfd-2001:db8::2", Some(Scope::Underlay))]
    #[case("pe-underlay-out-v4-00000000", Some(Scope::Underlay))]
    #[case("pe-vrf-red", None)]
    #[case("mine", None)]
    fn foreign_names_are_not_recognised(#[case] name: &str, #[case] scope: Option<Scope>) {
        assert_eq!(scope_of(name), scope);
    }

    #[test]
    fn another_content_has_another_name() {
        let scope = Scope::Underlay;
        assert_ne!(policy(&scope, Use::Fabric, "a"), policy(&scope, Use::Fabric, "b"));
    }
}
