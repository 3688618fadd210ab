//! A finding: something wrong or missing, with what shows it and what to do about it. In: the rules beside this file. Out: the one
//! type that `perouter check`, conditions and events show. Pure data.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kind::object::ObjectRef;
use crate::types::{Vni, VrfName};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingSeverity {
    /// Packets or routes are lost.
    Error,
    /// Some are lost, or would be after one more fault.
    Warning,
    /// By intent, or of no effect now.
    Info,
}

impl FindingSeverity {
    /// As in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// The part of the router that a check is about, in the order in which one depends on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// FRR's daemons and the controller.
    Router,
    /// The objects of this node.
    Objects,
    /// NICs and the links of VNIs.
    Links,
    /// Sessions with the fabric.
    Fabric,
    /// Sessions with the host.
    Host,
    /// VNIs, VTEPs, Type-5 routes.
    Evpn,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Router, Self::Objects, Self::Links, Self::Fabric, Self::Host, Self::Evpn];

    /// As in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Objects => "objects",
            Self::Links => "links",
            Self::Fabric => "fabric",
            Self::Host => "host",
            Self::Evpn => "evpn",
        }
    }
}

macro_rules! finding_kinds {
    ($($(#[$doc:meta])* $kind:ident = $word:literal,)*) => {
        /// What is wrong: a closed list.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum FindingKind {
            $($(#[$doc])* #[serde(rename = $word)] $kind,)*
        }

        impl FindingKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The kind with this word.
            pub fn named(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
            }

            /// As in tables, JSON and the documentation.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)*
                }
            }
        }
    };
}

finding_kinds! {
    /// A daemon of FRR does not answer.
    FrrSilent = "frr-silent",
    /// No controller runs, or its status is old.
    ControllerStopped = "controller-stopped",
    /// perouter was not measured with this version of FRR.
    FrrUnmeasured = "frr-unmeasured",
    /// FRR has lines that are not from perouter.
    ForeignLines = "foreign-lines",
    /// No Underlay is accepted for this node.
    NoUnderlay = "no-underlay",
    /// An object is not accepted.
    ObjectRejected = "object-rejected",
    /// A part of an accepted object is not in place.
    ObjectFailed = "object-failed",
    /// An accepted object loses routes by what it says.
    ObjectLosesRoutes = "object-loses-routes",
    /// A link is down or has no carrier.
    LinkDown = "link-down",
    /// A packet filter of others drops packets in the namespaces of the router.
    PacketFilter = "packet-filter",
    /// A managed bridge has ports of others, and no segment.
    BridgeWithoutSegment = "bridge-without-segment",
    /// No NIC has an address in the subnet of a neighbor.
    NicWithoutAddress = "nic-without-address",
    /// The underlay is too small for packets of 1500 bytes.
    MtuSmall = "mtu-small",
    /// The peer does not answer.
    NoAnswer = "no-answer",
    /// The peer does not answer ARP or Neighbor Discovery.
    NotResolved = "not-resolved",
    /// The peer closes the connection without a word: it has no neighbor with our address.
    ConnectionClosed = "connection-closed",
    /// One side expects another AS number.
    WrongAsn = "wrong-asn",
    /// Both sides have one router id.
    SameRouterId = "same-router-id",
    /// TCP MD5 passwords differ, or only one side has one.
    WrongPassword = "wrong-password",
    /// A side is shut down by its administrator.
    ShutDown = "shut-down",
    /// The neighbor was removed.
    NeighborRemoved = "neighbor-removed",
    /// More prefixes than allowed.
    TooManyPrefixes = "too-many-prefixes",
    /// Two connections collide.
    Collision = "collision",
    /// Nothing was received for the hold time.
    HoldTimeExpired = "hold-time-expired",
    /// There is no route to the peer.
    NoRouteToPeer = "no-route-to-peer",
    /// BFD is down.
    BfdDown = "bfd-down",
    /// The session is being established.
    Establishing = "establishing",
    /// The session is down for another reason, in FRR's words.
    SessionDown = "session-down",
    /// An address family is not negotiated.
    FamilyNotNegotiated = "family-not-negotiated",
    /// No session with the fabric is established.
    NoFabricSession = "no-fabric-session",
    /// No session with the fabric carries L2VPN EVPN.
    NoEvpnSession = "no-evpn-session",
    /// The host offers an address family that its session does not carry.
    FamilyNotCarried = "family-not-carried",
    /// A second speaker opens connections.
    SecondSpeaker = "second-speaker",
    /// A route of the host has a next hop that is not the host's.
    ThirdPartyNextHop = "third-party-next-hop",
    /// A route of the host is filtered by its prefix.
    PrefixFiltered = "prefix-filtered",
    /// The host rejects routes of the fabric as an AS-path loop.
    AsPathLoop = "as-path-loop",
    /// The host has no route to a prefix of the fabric.
    NoReturnRoute = "no-return-route",
    /// A VNI is not up.
    VniDown = "vni-down",
    /// zebra was restarted, and bgpd is not connected to it yet.
    ZebraRestarted = "zebra-restarted",
    /// The bridge of a segment on the host is down.
    BridgeDown = "bridge-down",
    /// A port of the bridge of a segment is down.
    PortDown = "port-down",
    /// A port of the bridge of a segment has a larger MTU than the segment.
    PortMtu = "port-mtu",
    /// Several workloads of a segment have one address.
    DuplicateAddress = "duplicate-address",
    /// No route leads to a VTEP.
    VtepUnreachable = "vtep-unreachable",
    /// The kernel has no router MAC for a VTEP.
    RouterMacMissing = "router-mac-missing",
    /// A VTEP has the other address family.
    VtepFamily = "vtep-family",
    /// Somebody else advertises our VTEP address.
    DuplicateVtep = "duplicate-vtep",
    /// Another node has our router id.
    DuplicateRouterId = "duplicate-router-id",
    /// No route of the fabric is received, or none of a VNI.
    NoFabricRoutes = "no-fabric-routes",
    /// A VRF imports routes of another VNI, along which FRR cannot send.
    VniMismatch = "vni-mismatch",
    /// A leaf sets its own address as the next hop of EVPN routes of others.
    NextHopChanged = "next-hop-changed",
    /// A Type-5 route of one of our VNIs is received and not imported.
    NotImported = "not-imported",
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where it is. What does not apply is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Place {
    /// VRF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vrf: Option<VrfName>,
    /// VNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// Peer of a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// VTEP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vtep: Option<IpAddr>,
    /// Prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<IpNet>,
    /// Link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Daemon of FRR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon: Option<String>,
}

impl Place {
    /// A session.
    pub fn session(vrf: Option<&VrfName>, peer: &str) -> Self {
        Self { vrf: vrf.cloned(), peer: Some(peer.to_owned()), ..Self::default() }
    }
}

/// The parts that are there, the widest first.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name: &str, value: Option<String>| value.map(|value| format!("{name}{value}"));
        let parts = [
            text("VRF ", self.vrf.as_ref().map(ToString::to_string)),
            text("VNI ", self.vni.map(|vni| vni.to_string())),
            text("peer ", self.peer.clone()),
            text("VTEP ", self.vtep.map(|vtep| vtep.to_string())),
            text("", self.prefix.map(|prefix| prefix.to_string())),
            text("link ", self.link.clone()),
            text("", self.daemon.clone()),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// Something wrong or missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: FindingSeverity,
    /// The part of the router.
    pub area: Area,
    /// What is wrong, as a word of a closed list.
    pub kind: FindingKind,
    /// Where.
    #[serde(rename = "where")]
    pub place: Place,
    /// What is wrong, as a sentence.
    pub what: String,
    /// What shows it; empty where `what` says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// What to do.
    pub remedy: String,
    /// The object that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// The field of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Since when, in seconds since the epoch; in JSON as RFC 3339 has it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_time",
        deserialize_with = "read_time"
    )]
    pub since: Option<u64>,
}

impl Finding {
    /// A finding without evidence, object and time.
    pub fn new(severity: FindingSeverity, area: Area, kind: FindingKind, what: impl Into<String>) -> Self {
        let (place, what) = (Place::default(), what.into());
        let (evidence, remedy) = (String::new(), String::new());
        Self { severity, area, kind, place, what, evidence, remedy, object: None, field: None, since: None }
    }

    /// At this place.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// With what shows it.
    #[must_use]
    pub fn shown_by(self, evidence: impl Into<String>) -> Self {
        Self { evidence: evidence.into(), ..self }
    }

    /// With what to do.
    #[must_use]
    pub fn remedied_by(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// With the object and its field.
    #[must_use]
    pub fn of(self, object: Option<&ObjectRef>, field: &str) -> Self {
        let field = (object.is_some() && !field.is_empty()).then(|| field.to_owned());
        Self { object: object.cloned(), field, ..self }
    }

    /// Somebody has to do something.
    pub fn is_problem(&self) -> bool {
        self.severity != FindingSeverity::Info
    }

    /// The node does less than its objects say. Some warnings may be as the network is meant to be: a NIC with 1500 bytes, a route with
    /// another target, a port of a workload that is off, a policy by source that leads to the VRF, a filter of the administrator.
    pub fn degrades(&self) -> bool {
        use FindingKind::{
            DuplicateAddress, MtuSmall, NoFabricRoutes, NoReturnRoute, NotImported, PacketFilter, PortDown, PortMtu,
            VniMismatch,
        };
        let meant = [
            DuplicateAddress,
            MtuSmall,
            NoFabricRoutes,
            NoReturnRoute,
            NotImported,
            PacketFilter,
            PortDown,
            PortMtu,
            VniMismatch,
        ];
        let may_be_meant = meant.contains(&self.kind);
        match self.severity {
            FindingSeverity::Error => true,
            FindingSeverity::Warning => !may_be_meant,
            FindingSeverity::Info => false,
        }
    }
}

/// Gives each finding the time since which it is there: its own, that of the same one before, or `now`.
pub fn with_times(findings: &mut [Finding], before: &[Finding], now: u64) {
    let key = |finding: &Finding| (finding.kind, finding.place.clone(), finding.object.clone());
    let known: BTreeMap<_, u64> = before.iter().filter_map(|finding| Some((key(finding), finding.since?))).collect();
    for finding in findings {
        let same = known.get(&key(finding)).copied();
        finding.since = finding.since.or(same).or(Some(now));
    }
}

#[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "the signature is that of serde")]
fn write_time<S: Serializer>(time: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.map(rfc3339).unwrap_or_default())
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time: Result<k8s_openapi::jiff::Timestamp, _> = text.parse();
    Ok(time.ok().and_then(|time| u64::try_from(time.as_second()).ok()))
}

/// Seconds since the epoch as RFC 3339 has them.
pub fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|second| k8s_openapi::jiff::Timestamp::from_second(second).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn finding(peer: &str, since: Option<u64>) -> Finding {
        let place = Place::session(None, peer);
        Finding { since, ..Finding::new(FindingSeverity::Error, Area::Fabric, FindingKind::NoAnswer, "x").at(place) }
    }

    #[test]
    fn each_kind_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = FindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), FindingKind::ALL.len());
    }

    #[test]
    fn a_finding_keeps_the_time_since_which_it_is_there() {
        let mut now = [finding("a", None), finding("b", None), finding("c", Some(5))];
        with_times(&mut now, &[finding("a", Some(7)), finding("c", Some(1))], 9);
        assert_eq!(now.map(|finding| finding.since), [Some(7), Some(9), Some(5)]);
    }

    #[test]
    fn findings_of_two_objects_have_times_of_their_own() {
        let of = |name: &str, since| {
            let object = ObjectRef::new(crate::kind::object::Kind::L3VNI, "ns", name);
            Finding { since, ..Finding::new(FindingSeverity::Error, Area::Objects, FindingKind::ObjectRejected, "x") }
                .of(Some(&object), "")
        };
        let mut now = [of("red", None), of("blue", None)];
        with_times(&mut now, &[of("red", Some(7))], 9);
        assert_eq!(now.map(|finding| finding.since), [Some(7), Some(9)]);
    }

    #[test]
    fn json_has_its_parts_and_is_read_again() {
        let found = finding("192.0.2.1", Some(1_795_876_674)).remedied_by("y");
        let json = serde_json::to_value(&found).unwrap();
        let expected = serde_json::json!({"severity": "error", "area": "fabric", "kind": "no-answer", "what": "x", "remedy": "y",
            "where": {"peer": "192.0.2.1"}, "since": "2026-11-28T14:37:54Z"});
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Finding>(json).unwrap(), found);
    }

    #[test]
    fn a_place_names_the_widest_part_first() {
        let place = Place {
            vni: 100.try_into().ok(),
            prefix: "10.0.0.0/8".parse().ok(),
            ..Place::session("red".parse().ok().as_ref(), "192.0.2.1")
        };
        assert_eq!(place.to_string(), "VRF red, VNI 100, peer 192.0.2.1, 10.0.0.0/8");
    }
}
