//! The names of the links that we own: the one place that both composes and recognises them, so that a foreign link cannot be
//! named for deletion. Likewise for our nftables tables. In: VNIs and observed names with their link group. Out:
//! [`OwnedName`] and [`PortTable`]. Pure.

use std::fmt;

use thiserror::Error;

use crate::types::{IfName, Vni, VrfName};

/// The link group that marks our links (`IFLA_GROUP`): it is part of the creating message, so that no link of ours is ever
/// without it.
pub const LINK_GROUP: u32 = 0x5045;

/// The same of the links of an L2 segment, whose bridge is in the IP-VRF of another VNI: what a link belongs to is known without
/// its master.
pub const SEGMENT_GROUP: u32 = 0x5046;

/// Whether a link group is one of ours.
pub fn is_our_group(group: u32) -> bool {
    matches!(group, LINK_GROUP | SEGMENT_GROUP)
}

/// The role of a link for its VNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `vni<VNI>`, the VXLAN device.
    Vxlan,
    /// `br-pe-<VNI>`, the bridge of the VXLAN device, which has the router MAC.
    Bridge,
    /// `pe-<VNI>`, the veth end in the IP-VRF.
    PeVeth,
    /// `host-<VNI>`, the veth end in the host's network namespace.
    HostVeth,
    /// `br-hs-<VNI>`, the bridge of an L2 segment in the host's network namespace.
    HostBridge,
}

const ROLES: [(Role, &str); 5] = [
    (Role::Bridge, "br-pe-"),
    (Role::HostBridge, "br-hs-"),
    (Role::HostVeth, "host-"),
    (Role::PeVeth, "pe-"),
    (Role::Vxlan, "vni"),
];

/// Links that the kernel creates in every namespace once their module is loaded, and names that mean several links.
const OF_KERNEL: [&str; 13] = [
    "lo", "all", "default", "sit0", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0",
    "teql0",
];

/// Prefixes of links of ours, before the VNI.
const OF_ROUTER: [&str; 5] = ["vni", "br-pe-", "br-hs-", "pe-", "host-"];

/// A name that no VRF and no NIC may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReservedName {
    /// A link of the kernel.
    #[error("is a name of the kernel: use another one")]
    Kernel,
    /// A link of ours.
    #[error("is the name of a link of perouter (vni, pe-, host-, br-pe- or br-hs- before a number): use another one")]
    Router,
}

/// Checks that a VRF or a NIC may have a name.
///
/// # Errors
/// Where the name is reserved.
pub fn check_unreserved(name: &str) -> Result<(), ReservedName> {
    let is_number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    if OF_KERNEL.contains(&name) {
        Err(ReservedName::Kernel)
    } else if OF_ROUTER.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(is_number)) {
        Err(ReservedName::Router)
    } else {
        Ok(())
    }
}

/// A CEL expression that is true where [`check_unreserved`] accepts the name that `value` stands for.
pub fn unreserved_rule(value: &str) -> String {
    let kernel = OF_KERNEL.map(|name| format!("'{name}'")).join(", ");
    format!("!({value} in [{kernel}]) && !{value}.matches('^({})[0-9]+$')", OF_ROUTER.join("|"))
}

/// The name of a link of ours. Deletions accept no other name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnedName {
    /// A link of one VNI.
    Vni(Role, Vni),
    /// The VRF device of an IP-VRF.
    Vrf(VrfName),
}

impl OwnedName {
    /// The first in the order of all names.
    pub(crate) const FIRST: Self = Self::Vni(Role::Vxlan, Vni::FIRST);

    /// Recognises one of our links by its name, link group and whether it is a VRF device. `None`: not ours.
    pub fn recognise(name: &str, group: u32, is_vrf_device: bool) -> Option<Self> {
        if !is_our_group(group) {
            return None;
        }
        if is_vrf_device {
            return name.parse().ok().map(Self::Vrf);
        }
        ROLES.iter().find_map(|(role, prefix)| {
            let digits = name.strip_prefix(prefix)?;
            let vni = digits.parse::<u32>().ok().filter(|n| n.to_string() == digits)?;
            Some(Self::Vni(*role, Vni::try_from(vni).ok()?))
        })
    }

    /// The name as the kernel has it.
    pub fn if_name(&self) -> IfName {
        let text = self.to_string();
        // Every prefix is at most 6 bytes and a VNI at most 8 digits; a VRF name is an interface name.
        text.parse().unwrap_or_else(|_| unreachable!("{text} fits IFNAMSIZ"))
    }

    /// Whether it is the bridge of a segment on the host, of which others are ports.
    pub fn is_host_bridge(&self) -> bool {
        matches!(self, Self::Vni(Role::HostBridge, _))
    }

    /// The VNI whose link this is; `None` for a VRF device.
    pub fn vni(&self) -> Option<Vni> {
        match self {
            Self::Vni(_, vni) => Some(*vni),
            Self::Vrf(_) => None,
        }
    }
}

impl fmt::Display for OwnedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vni(role, vni) => {
                let prefix = ROLES.iter().find_map(|(r, p)| (r == role).then_some(*p)).unwrap_or_default();
                write!(f, "{prefix}{vni}")
            }
            Self::Vrf(name) => write!(f, "{name}"),
        }
    }
}

/// The interface index of the VRF device of an IP-VRF: the same each time that it is created, so that a bgpd which was not notified
/// of the deletion has the right VRF all the same. Above what the kernel assigns by itself in a namespace, which counts from 1.
pub fn vrf_index(vrf: &VrfName) -> u32 {
    const BASE: u32 = 1 << 30;
    // FNV-1a.
    let fold = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    BASE | (vrf.as_str().bytes().fold(0x811c_9dc5, fold) & (BASE - 1))
}

/// The alias that `ip link` shows: whose link this is, of which VNI or VRF, whatever kind of object describes it. For a host
/// end it records which device of the host we set as its master. Ownership is in the link group.
pub fn alias(name: &OwnedName, host_master: Option<&IfName>) -> String {
    let text = match name {
        OwnedName::Vni(_, vni) => format!("perouter VNI {vni}"),
        OwnedName::Vrf(vrf) => format!("perouter VRF {vrf}"),
    };
    host_master.map_or_else(|| text.clone(), |master| format!("{text}{IN_HOST_MASTER}{master}"))
}

/// Whether `text` is an alias of ours for this link.
pub fn is_alias_of(text: &str, name: &OwnedName) -> bool {
    let rest = text.strip_prefix(&alias(name, None));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(IN_HOST_MASTER))
}

/// Whether it is an alias of ours for any link.
pub fn is_alias(text: &str) -> bool {
    text.starts_with("perouter ")
}

/// The device of the host that an alias of ours records as the master of the link.
pub fn host_master_of(alias: &str) -> Option<IfName> {
    alias.split_once(IN_HOST_MASTER)?.1.parse().ok()
}

const IN_HOST_MASTER: &str = ", put into ";

/// The nftables table that opens a second BGP port of the router towards the host of one VNI. Its name has all parameters:
/// `perouter-<VNI>-<port>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortTable {
    /// The VNI.
    pub vni: Vni,
    /// The second port.
    pub port: u16,
}

impl PortTable {
    /// Recognises one of our tables by its name. `None`: not ours.
    pub fn recognise(name: &str) -> Option<Self> {
        let (vni, port) = name.strip_prefix("perouter-")?.split_once('-')?;
        let table = Self { vni: Vni::try_from(vni.parse::<u32>().ok()?).ok()?, port: port.parse().ok()? };
        (table.to_string() == name).then_some(table)
    }
}

impl fmt::Display for PortTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "perouter-{}-{}", self.vni, self.port)
    }
}

/// The nftables table that drops IPv6 packets with forged sources. Its name has all parameters: `perouter-<VNI>-source` for
/// all devices of a namespace, `perouter-<VNI>-source-<device>` for one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceTable {
    /// The VNI.
    pub vni: Vni,
    /// The device on which packets arrive.
    pub device: Option<IfName>,
}

impl SourceTable {
    /// Recognises one of our tables by its name. `None`: not ours.
    pub fn recognise(name: &str) -> Option<Self> {
        let (vni, device) = name.strip_prefix("perouter-")?.split_once("-source")?;
        let device = if device.is_empty() { None } else { Some(device.strip_prefix('-')?.parse().ok()?) };
        let table = Self { vni: Vni::try_from(vni.parse::<u32>().ok()?).ok()?, device };
        (table.to_string() == name).then_some(table)
    }
}

impl fmt::Display for SourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "perouter-{}-source", self.vni)?;
        self.device.iter().try_for_each(|device| write!(f, "-{device}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_name_of_ours_is_recognised(raw in 1u32..=0x00ff_ffff, role in 0usize..5) {
            let name = OwnedName::Vni(ROLES[role].0, Vni::try_from(raw).unwrap());
            for group in [LINK_GROUP, SEGMENT_GROUP] {
                prop_assert_eq!(OwnedName::recognise(name.if_name().as_str(), group, false), Some(name.clone()));
            }
        }
    }

    #[test]
    fn the_index_of_a_vrf_device_depends_on_its_name_only() {
        let index = |name: &str| vrf_index(&name.parse().unwrap());
        assert_eq!(index("red"), 0x40f4_80dc, "constant: a new release of perouter must not give a VRF another id");
        let indices: std::collections::BTreeSet<u32> = (0..1000).map(|n| index(&format!("tenant-{n}"))).collect();
        assert_eq!(indices.len(), 1000);
        assert!(indices.iter().all(|index| (1 << 30..1 << 31).contains(index)), "positive for the kernel");
    }

    #[test]
    fn names_of_our_links_and_of_the_kernel_are_reserved() {
        for (name, expected) in [
            ("vni200", Err(ReservedName::Router)),
            ("pe-100", Err(ReservedName::Router)),
            ("host-7", Err(ReservedName::Router)),
            ("br-pe-1", Err(ReservedName::Router)),
            ("br-hs-1", Err(ReservedName::Router)),
            ("sit0", Err(ReservedName::Kernel)),
            ("lo", Err(ReservedName::Kernel)),
            ("vni", Ok(())),
            ("host-uplink", Ok(())),
            ("pe-1a", Ok(())),
            ("red", Ok(())),
            ("eth0", Ok(())),
        ] {
            assert_eq!(check_unreserved(name), expected, "{name}");
        }
        for (role, _) in ROLES {
            let name = OwnedName::Vni(role, Vni::try_from(1).unwrap()).to_string();
            assert_eq!(check_unreserved(&name), Err(ReservedName::Router), "{name}");
        }
    }

    #[test]
    fn an_alias_records_the_master_on_the_host() {
        let name = OwnedName::Vni(Role::HostVeth, Vni::try_from(100).unwrap());
        let vrf: IfName = "host.vrf".parse().unwrap();
        assert_eq!(host_master_of(&alias(&name, Some(&vrf))), Some(vrf));
        assert_eq!(host_master_of(&alias(&name, None)), None);
        assert_eq!(alias(&name, None), "perouter VNI 100");
        let other = OwnedName::Vni(Role::HostVeth, Vni::try_from(1000).unwrap());
        assert!(is_alias_of(&alias(&name, None), &name) && is_alias(&alias(&name, None)));
        assert!(!is_alias_of(&alias(&other, None), &name));
    }

    #[test]
    fn tables_are_recognised_by_their_whole_name() {
        let mine = PortTable { vni: Vni::try_from(100).unwrap(), port: 180 };
        assert_eq!(PortTable::recognise("perouter-100-180"), Some(mine));
        for name in ["perouter-100", "perouter-0-180", "perouter-100-0180", "perouter-100-65536", "filter"] {
            assert_eq!(PortTable::recognise(name), None, "{name}");
        }
    }

    #[test]
    fn tables_of_sources_are_recognised_by_their_whole_name() {
        let vni = Vni::try_from(100).unwrap();
        for device in [None, Some("red"), Some("host-100"), Some("a-source")] {
            let mine = SourceTable { vni, device: device.map(|name| name.parse().unwrap()) };
            assert_eq!(SourceTable::recognise(&mine.to_string()), Some(mine.clone()), "{mine}");
            assert_eq!(PortTable::recognise(&mine.to_string()), None, "{mine}");
        }
        for name in ["perouter-100-180", "perouter-100-source-", "perouter-0-source", "perouter-100-sources"] {
            assert_eq!(SourceTable::recognise(name), None, "{name}");
        }
    }

    #[test]
    fn foreign_links_are_not_recognised() {
        for (name, group) in [("vni100", 0), ("eth0", LINK_GROUP), ("vni0100", LINK_GROUP), ("host-", LINK_GROUP)] {
            assert_eq!(OwnedName::recognise(name, group, false), None, "{name}");
        }
    }
}
