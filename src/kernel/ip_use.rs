//! Whether and how a link takes part in IP, and the IPv4 settings by which that is observed. Pure data.

/// Whether a link takes part in IP, and how. Set and observed as a whole by its IPv4 settings.
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
    /// `arp_accept` and `arp_ignore`, by which it is observed. Only addresses of the own subnets are accepted (2, since Linux 6.0;
    /// as 1 before).
    pub fn arp(self) -> [u32; 2] {
        match self {
            Self::Routed => [0, 0],
            Self::Gateway => [2, 0],
            Self::Bridged => [0, 8],
        }
    }

    /// Of the values that the kernel has.
    pub fn of(arp_accept: i32, arp_ignore: i32) -> Self {
        match (arp_accept, arp_ignore) {
            (2, 0) => Self::Gateway,
            (_, 8) => Self::Bridged,
            _ => Self::Routed,
        }
    }
}
