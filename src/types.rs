//! Terms of the field as types. In: raw numbers and strings of the API. Out: values that cannot be invalid. Past `plan` no bare
//! integer or string may stand for one of them. Pure.

use std::fmt;
use std::str::FromStr;

use arrayvec::ArrayString;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a raw value is not one of the types of this module.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TypeError {
    /// VXLAN network identifiers are 24 bit and 0 is reserved (RFC 7348 section 5).
    #[error("{0} is not a VNI: use 1 to 16777215")]
    Vni(u32),
    /// AS 0 is reserved (RFC 7607).
    #[error("0 is not an AS number: use 1 to 4294967295")]
    Asn,
    /// The kernel's limit is IFNAMSIZ - 1 = 15 bytes; `/`, `:` and white space cannot occur.
    #[error(
        "{0:?} is not an interface name: use 1 to 15 letters, digits, '-', '_' or '.', starting with a letter or digit"
    )]
    IfName(String),
    /// A VRF name is an interface name that FRR can parse.
    #[error("{0:?} is not a VRF name: use 1 to 15 letters, digits, '-' or '_', starting with a letter")]
    VrfName(String),
    /// Names that have another meaning for FRR or the kernel.
    #[error("{0:?} is reserved by FRR or the kernel: use another name")]
    Reserved(String),
    /// `ASN:NUMBER` or `IPv4:NUMBER` (RFC 4360 section 4, RFC 5668 section 2).
    #[error("{0:?} is not a route target: use ASN:NUMBER or IPV4:NUMBER, with at most 6 bytes of value in all")]
    RouteTarget(String),
    /// `A:B` or a well-known name (RFC 1997).
    #[error(
        "{0:?} is not a community: use ASN:NUMBER with at most 65535 each, or no-export, no-advertise, local-AS, blackhole, graceful-shutdown"
    )]
    Community(String),
    /// Six bytes in hex.
    #[error("{0:?} is not a MAC address")]
    Mac(String),
}

/// A VXLAN network identifier, 1 to 16777215 (RFC 7348).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vni(u32);

impl Vni {
    /// The lowest VNI.
    pub const FIRST: Self = Self(1);

    /// The number, 1 to 16777215.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Vni {
    type Error = TypeError;
    fn try_from(raw: u32) -> Result<Self, TypeError> {
        if (1..=0x00ff_ffff).contains(&raw) { Ok(Self(raw)) } else { Err(TypeError::Vni(raw)) }
    }
}

impl From<Vni> for u32 {
    fn from(vni: Vni) -> u32 {
        vni.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An AS number, 1 to 4294967295 (RFC 6793).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Asn(u32);

impl TryFrom<u32> for Asn {
    type Error = TypeError;
    fn try_from(raw: u32) -> Result<Self, TypeError> {
        if raw == 0 { Err(TypeError::Asn) } else { Ok(Self(raw)) }
    }
}

impl From<Asn> for u32 {
    fn from(asn: Asn) -> u32 {
        asn.0
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an interface (IFNAMSIZ - 1 bytes), without a heap allocation: there are thousands of them.
type InlineName = ArrayString<15>;

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident($text:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name($text);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = TypeError;
            fn try_from(raw: String) -> Result<Self, TypeError> {
                raw.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_newtype! {
    /// The name of a network interface, 1 to 15 bytes.
    IfName(InlineName)
}

text_newtype! {
    /// The name of an IP-VRF (RFC 9136 section 1): also the name of its VRF device or of its network namespace.
    VrfName(InlineName)
}

impl FromStr for IfName {
    type Err = TypeError;
    fn from_str(raw: &str) -> Result<Self, TypeError> {
        let ok = raw.starts_with(|c: char| c.is_ascii_alphanumeric())
            && raw.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        InlineName::from(raw).ok().filter(|_| ok).map(Self).ok_or_else(|| TypeError::IfName(raw.to_owned()))
    }
}

impl FromStr for VrfName {
    type Err = TypeError;
    fn from_str(raw: &str) -> Result<Self, TypeError> {
        // To FRR these mean the default VRF or every VRF.
        if matches!(raw, "default" | "all" | "lo") {
            return Err(TypeError::Reserved(raw.to_owned()));
        }
        let ok = raw.starts_with(|c: char| c.is_ascii_alphabetic())
            && raw.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        InlineName::from(raw).ok().filter(|_| ok).map(Self).ok_or_else(|| TypeError::VrfName(raw.to_owned()))
    }
}

/// A kernel routing table that belongs to one VRF device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TableId(pub u32);

impl TableId {
    /// Table of the VRF device of `vni`: a fixed base above the tables that the kernel and administrators use
    /// (253 to 255 are `default`, `main` and `local`).
    pub fn of(vni: Vni) -> Self {
        Self(0x0100_0000 + vni.get())
    }

    /// The VNI of this table; `None` for a table that [`TableId::of`] does not return.
    pub fn vni(self) -> Option<Vni> {
        self.0.checked_sub(0x0100_0000).and_then(|raw| Vni::try_from(raw).ok())
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&bytes.join(":"))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = TypeError;
    fn from_str(raw: &str) -> Result<Self, TypeError> {
        let wrong = || TypeError::Mac(raw.to_owned());
        let mut bytes = [0; 6];
        let mut parts = raw.split(':');
        for byte in &mut bytes {
            *byte = parts.next().and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or_else(wrong)?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for MacAddr {
    type Error = TypeError;
    fn try_from(raw: String) -> Result<Self, TypeError> {
        raw.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> String {
        mac.to_string()
    }
}

text_newtype! {
    /// A route target extended community, `ASN:NUMBER` or `IPV4:NUMBER` (RFC 4360).
    RouteTarget(String)
}

impl RouteTarget {
    /// The route target that FRR derives where none is configured (RFC 8365 section 5.1.2.1), as FRR prints it: the lower 16 bits
    /// of the AS number, and the VNI.
    pub fn derived(asn: Asn, vni: Vni) -> String {
        format!("{}:{vni}", u32::from(asn) & 0xffff)
    }
}

impl FromStr for RouteTarget {
    type Err = TypeError;
    fn from_str(raw: &str) -> Result<Self, TypeError> {
        let wrong = || TypeError::RouteTarget(raw.to_owned());
        let (admin, number) = raw.split_once(':').ok_or_else(wrong)?;
        let number: u32 = canonical_number(number).ok_or_else(wrong)?;
        let two_bytes = u16::try_from(number).is_ok();
        let ok = if admin.contains('.') {
            admin.parse::<std::net::Ipv4Addr>().is_ok() && two_bytes
        } else {
            let asn: u32 = canonical_number(admin).ok_or_else(wrong)?;
            asn != 0 && (u16::try_from(asn).is_ok() || two_bytes)
        };
        if ok { Ok(Self(raw.to_owned())) } else { Err(wrong()) }
    }
}

text_newtype! {
    /// A standard community, `ASN:NUMBER` or a well-known name as FRR prints it (RFC 1997).
    Community(String)
}

impl FromStr for Community {
    type Err = TypeError;
    fn from_str(raw: &str) -> Result<Self, TypeError> {
        let wrong = || TypeError::Community(raw.to_owned());
        if matches!(raw, "no-export" | "no-advertise" | "local-AS" | "blackhole" | "graceful-shutdown") {
            return Ok(Self(raw.to_owned()));
        }
        let (a, b) = raw.split_once(':').ok_or_else(wrong)?;
        let ok = [a, b].iter().all(|half| canonical_number(half).is_some_and(|n| u16::try_from(n).is_ok()));
        if ok { Ok(Self(raw.to_owned())) } else { Err(wrong()) }
    }
}

/// Decimal without sign or leading zero, the only form that FRR prints back unchanged.
fn canonical_number(raw: &str) -> Option<u32> {
    let number: u32 = raw.parse().ok()?;
    (number.to_string() == raw).then_some(number)
}

/// A password. It must not appear in a log, a status or a plan: `Debug` and `Display` print a mask.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(String);

impl Secret {
    /// Wraps the clear text.
    pub fn new(clear: String) -> Self {
        Self(clear)
    }

    /// The clear text, for the one place that sends it to FRR.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// How IP-VRFs are isolated on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VrfMode {
    /// One VRF device and routing table for each IP-VRF.
    Vrf,
    /// One network namespace for each IP-VRF (FRR's netns VRF backend).
    Netns,
}

impl fmt::Display for VrfMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vrf => "vrf",
            Self::Netns => "netns",
        })
    }
}

/// An address family of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

impl Family {
    /// The family of `net`.
    pub fn of(net: &ipnet::IpNet) -> Self {
        match net {
            ipnet::IpNet::V4(_) => Self::Ipv4,
            ipnet::IpNet::V6(_) => Self::Ipv6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("64514:100", true)]
    #[case("4200000000:100", true)]
    #[case("65536:65536", false)]
    #[case("10.0.0.1:70000", false)]
    #[case("0:1", false)]
    #[case("1:01", false)]
    #[case("1", false)]
    fn route_target_has_six_bytes_of_value(#[case] raw: &str, #[case] ok: bool) {
        assert_eq!(raw.parse::<RouteTarget>().is_ok(), ok);
    }

    #[rstest]
    #[case("red", true)]
    #[case("default", false)]
    #[case("1red", false)]
    #[case("a-name-too-long-", false)]
    fn vrf_name_is_valid_in_frr(#[case] raw: &str, #[case] ok: bool) {
        assert_eq!(raw.parse::<VrfName>().is_ok(), ok);
    }

    #[test]
    fn tables_differ_from_those_of_the_kernel() {
        for vni in [1, 253, 254, 255, 0x00ff_ffff] {
            assert!(TableId::of(Vni::try_from(vni).unwrap()).0 > 0x0100_0000);
        }
    }

    #[test]
    fn a_secret_prints_as_a_mask() {
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret} {secret:?}"), "******** ********");
    }
}
