//! Whether and how a link takes part in IP, and the settings by which that is observed. Pure data.

/// Whether a link takes part in IP, and how. Set and observed as a whole: a link that has one of the settings otherwise is
/// [`IpUse::Routed`], which is none of those of a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum IpUse {
    /// As any other link.
    #[default]
    Routed,
    /// The gateway of a segment: a neighbor in one of its subnets that announces itself gets an entry (`arp_accept`,
    /// `accept_untracked_na`), and its addresses, which all nodes have, are used without duplicate address detection.
    Gateway,
    /// Not at all, as what carries frames only: no address is answered for (`arp_ignore`), and there is no IPv6.
    Bridged,
}

impl IpUse {
    /// `arp_accept` and `arp_ignore`. Only addresses of the own subnets are accepted (2, since Linux 6.0;
    /// as 1 before).
    pub fn arp(self) -> [u32; 2] {
        match self {
            Self::Routed => [0, 0],
            Self::Gateway => [2, 0],
            Self::Bridged => [0, 8],
        }
    }

    /// Of the values that the kernel has. `ipv6`: `None` for a link without IPv6.
    pub fn of(arp_accept: i32, arp_ignore: i32, ipv6: Option<Ipv6Settings>) -> Self {
        let has = |wanted| ipv6.is_none_or(|found| found == wanted);
        match (arp_accept, arp_ignore) {
            (2, 0) if has(Ipv6Settings::GATEWAY) => Self::Gateway,
            (_, 8) if ipv6.is_none_or(|found| found.disabled) => Self::Bridged,
            _ => Self::Routed,
        }
    }
}

/// The IPv6 settings of a link of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Settings {
    /// `disable_ipv6`
    pub disabled: bool,
    /// `accept_dad` or `dad_transmits`: it detects duplicate addresses, as which it would see the gateways of other nodes.
    pub detects_duplicates: bool,
}

impl Ipv6Settings {
    const GATEWAY: Self = Self { disabled: false, detects_duplicates: false };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_of_a_segment_only_with_all_its_settings() {
        let ipv6 = |disabled, detects_duplicates| Some(Ipv6Settings { disabled, detects_duplicates });
        let cases = [
            (IpUse::Gateway.arp(), ipv6(false, false), IpUse::Gateway),
            (IpUse::Gateway.arp(), None, IpUse::Gateway),
            (IpUse::Gateway.arp(), ipv6(true, false), IpUse::Routed),
            (IpUse::Gateway.arp(), ipv6(false, true), IpUse::Routed),
            (IpUse::Bridged.arp(), ipv6(true, true), IpUse::Bridged),
            (IpUse::Bridged.arp(), None, IpUse::Bridged),
            (IpUse::Bridged.arp(), ipv6(false, false), IpUse::Routed),
            (IpUse::Routed.arp(), ipv6(false, true), IpUse::Routed),
        ];
        for ([arp_accept, arp_ignore], ipv6, expected) in cases {
            let [arp_accept, arp_ignore] = [arp_accept, arp_ignore].map(u32::cast_signed);
            assert_eq!(IpUse::of(arp_accept, arp_ignore, ipv6), expected, "{arp_accept} {arp_ignore} {ipv6:?}");
        }
    }
}
