//! What is known of one configuration line: which words are its identity and which its value, how it is removed, and
//! in which order it is sent. Each stanza has the rules of its lines; [`super::rules`] is the table of all. Pure.

/// How a line is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Negation {
    /// `no` in front of it; or without its `no`.
    No,
    /// `no` and the identity without the value: FRR does not accept the value there, or it is a secret.
    NoValue,
    /// FRR has no negation; this line sets the default, which it does not print.
    Default(&'static str),
    /// A stanza that disappears when it is empty.
    Empty,
}

/// Lines of one group are sent together, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Global settings of zebra.
    ZebraSetting,
    /// Prefix lists; like route maps they exist before a neighbor uses them.
    PrefixList,
    /// Route maps.
    RouteMap,
    /// `match` and `set` of a route map.
    RouteMapClause,
    /// BFD profiles and their settings.
    Bfd,
    /// `vrf`, its VNI and its static routes.
    Vrf,
    /// `router bgp`
    Instance,
    /// Settings of a BGP instance.
    InstanceSetting,
    /// Neighbors and their session settings, those of one neighbor side by side.
    Neighbor,
    /// `address-family`
    AddressFamily,
    /// Networks and aggregates.
    Network,
    /// Settings of a neighbor in an address family.
    NeighborPolicy,
    /// Activation, after all else of a neighbor: its filters are in force before the first route can arrive.
    Activation,
    /// EVPN settings.
    Evpn,
    /// Lines without a rule.
    Unknown,
}

/// A line that perouter renders.
#[derive(Debug)]
pub(super) struct Rule {
    /// Words; `*` is any word and belongs to the identity, `=` is any word and is the value, `..` any rest, also none.
    pub pattern: &'static str,
    /// How it is removed.
    pub negation: Negation,
    /// When it is sent.
    pub group: Group,
    /// Opens a level of its own.
    pub opens: bool,
    /// FRR resets the sessions that it concerns when it is added, changed or removed.
    pub resets: bool,
}

impl Rule {
    /// A line that is all identity.
    pub const fn line(group: Group, pattern: &'static str) -> Self {
        Self { pattern, negation: Negation::No, group, opens: false, resets: false }
    }

    /// A line with a value, which FRR does not accept in the negation.
    pub const fn value(group: Group, pattern: &'static str) -> Self {
        Self { pattern, negation: Negation::NoValue, group, opens: false, resets: false }
    }

    /// A line that opens a level.
    pub const fn stanza(group: Group, pattern: &'static str) -> Self {
        Self { pattern, negation: Negation::No, group, opens: true, resets: false }
    }

    /// The same line with another negation.
    pub const fn negated_by(self, negation: Negation) -> Self {
        Self { negation, ..self }
    }

    /// The same line, which resets sessions.
    pub const fn resetting(self) -> Self {
        Self { resets: true, ..self }
    }

    /// The words of the identity of a line of this rule.
    pub fn identity<'a>(&self, line: &'a str) -> Vec<&'a str> {
        let parts = self.pattern.split(' ').take_while(|part| *part != "..");
        parts.zip(line.split(' ')).filter(|(part, _)| *part != "=").map(|(_, word)| word).collect()
    }
}
