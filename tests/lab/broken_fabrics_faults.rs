//! Faults of a fabric, a host and objects, as a table: how each is made and repaired, and what must be found. It runs nothing.

use super::fixture::l3vni;

const LEAF: &str = "192.168.11.2";
const HOST: &str = "192.169.10.2";

/// What must be found of a fault.
pub struct Expected {
    pub kind: &'static str,
    /// Parts of the finding as JSON: of its place, object, field, what, evidence or remedy.
    pub words: &'static [&'static str],
    /// A condition and its reason, where the controller sees the fault.
    pub condition: Option<(&'static str, &'static str)>,
    /// An address, and the words of its trace.
    pub trace: Option<(&'static str, &'static str)>,
    /// The alerts of `deploy/` that fire, and no others.
    pub alerts: &'static [&'static str],
}

/// A part of the lab that is broken and repaired.
pub enum Step {
    /// Lines of vtysh on a node of the fabric.
    Leaf(&'static str, &'static [&'static str]),
    /// Lines of vtysh of the host's speaker.
    Host(&'static [&'static str]),
    /// A command on the node.
    Node(&'static [&'static str]),
    /// A command in the namespace of the router.
    Router(&'static [&'static str]),
    /// A text in the file of an object.
    Edit(&'static str, &'static str, &'static str),
    /// An object more.
    Write(&'static str, fn() -> String),
    /// And less.
    Remove(&'static str),
}

pub struct Fault {
    pub what: &'static str,
    pub breaks: Vec<Step>,
    pub repair: Vec<Step>,
    pub expected: Expected,
}

fn fault(what: &'static str, breaks: Vec<Step>, repair: Vec<Step>, expected: Expected) -> Fault {
    Fault { what, breaks, repair, expected }
}

fn found(kind: &'static str, words: &'static [&'static str]) -> Expected {
    Expected { kind, words, condition: None, trace: None, alerts: &[] }
}

impl Expected {
    fn with(self, condition: &'static str, reason: &'static str) -> Self {
        Self { condition: Some((condition, reason)), ..self }
    }

    fn alerting(self, alerts: &'static [&'static str]) -> Self {
        Self { alerts, ..self }
    }

    fn traced(self, address: &'static str, words: &'static str) -> Self {
        Self { trace: Some((address, words)), ..self }
    }
}

const SESSIONS_DOWN: (&str, &str) = ("Degraded", "SessionsDown");
const NO_SESSION: (&str, &str) = ("FabricConnected", "NoFabricSession");

const FABRIC_DOWN: &[&str] = &["PerouterFabricDown", "PerouterSessionDown"];
const SESSION_DOWN: &[&str] = &["PerouterSessionDown"];
const REJECTED: &[&str] = &["PerouterObjectNotInPlace"];
const FILTERED: &[&str] = &["PerouterRoutesFiltered"];
const CHECK_FAILED: &[&str] = &["PerouterCheckFailed"];

fn leaf(lines: &'static [&'static str]) -> Vec<Step> {
    vec![Step::Leaf("leafkind", lines)]
}

/// Families and shutdown of the session with the leaf.
fn family_faults() -> Vec<Fault> {
    vec![
        fault(
            "the leaf has no EVPN for the node",
            leaf(&["router bgp 64512", "address-family l2vpn evpn", "no neighbor nodes activate"]),
            leaf(&[
                "router bgp 64512",
                "address-family l2vpn evpn",
                "neighbor nodes activate",
                "neighbor nodes attribute-unchanged next-hop",
            ]),
            found(
                "family-not-negotiated",
                &["L2VPN EVPN", LEAF, "spec.neighbors", "activate the neighbor 192.168.11.3"],
            )
            .with("Ready", "NoEvpnSession")
            .alerting(&["PerouterEvpnNotNegotiated"])
            .traced("172.30.0.10", "FAIL  fabric  L2VPN EVPN is not negotiated with 192.168.11.2"),
        ),
        fault(
            "the leaf has no IPv4 unicast for the node",
            leaf(&["router bgp 64512", "address-family ipv4 unicast", "no neighbor nodes activate"]),
            leaf(&["router bgp 64512", "address-family ipv4 unicast", "neighbor nodes activate"]),
            found("family-not-negotiated", &["IPv4 unicast", LEAF])
                .with("Degraded", "CheckFailed")
                .alerting(CHECK_FAILED),
        ),
        fault(
            "the leaf is shut down",
            leaf(&["router bgp 64512", "neighbor 192.168.11.3 shutdown"]),
            leaf(&["router bgp 64512", "no neighbor 192.168.11.3 shutdown"]),
            found("shut-down", &[LEAF, "administrator", "enable the neighbor"])
                .with(NO_SESSION.0, NO_SESSION.1)
                .alerting(FABRIC_DOWN)
                .traced("172.30.0.10", "the peer is shut down by its administrator"),
        ),
    ]
}

/// Faults of the neighbor at either side.
fn fabric_session_faults() -> Vec<Fault> {
    use Step::Edit;
    vec![
        fault(
            "the leaf expects another AS number",
            leaf(&["router bgp 64512", "neighbor nodes remote-as 64999"]),
            leaf(&["router bgp 64512", "neighbor nodes remote-as 64514"]),
            found("wrong-asn", &["\"field\":\"spec.asn\"", "expects another AS number than 64514"])
                .with(NO_SESSION.0, NO_SESSION.1)
                .alerting(FABRIC_DOWN),
        ),
        fault(
            "the Underlay has another AS number of the leaf",
            vec![Edit("underlay.yaml", "asn: 64512", "asn: 64999")],
            vec![Edit("underlay.yaml", "asn: 64999", "asn: 64512")],
            found("wrong-asn", &["spec.neighbors[192.168.11.2].asn", "another AS number than 64999"])
                .with(NO_SESSION.0, NO_SESSION.1)
                .alerting(FABRIC_DOWN),
        ),
        fault(
            "the leaf has no neighbor for the node",
            leaf(&["router bgp 64512", "no neighbor 192.168.11.3 peer-group nodes"]),
            leaf(&["router bgp 64512", "neighbor 192.168.11.3 peer-group nodes"]),
            found("no-answer", &[LEAF, "spec.neighbors[192.168.11.2]"])
                .with(NO_SESSION.0, NO_SESSION.1)
                .alerting(FABRIC_DOWN),
        ),
        fault(
            "the leaf has a password",
            leaf(&["router bgp 64512", "neighbor 192.168.11.3 password secret"]),
            leaf(&["router bgp 64512", "no neighbor 192.168.11.3 password"]),
            found("wrong-password", &[LEAF, "passwordSecret", "and this session has none"])
                .with(NO_SESSION.0, NO_SESSION.1)
                .alerting(FABRIC_DOWN),
        ),
        fault(
            "the NIC has no address in the subnet of the leaf",
            vec![Edit("underlay.yaml", "address: 192.168.11.2", "address: 192.168.99.2")],
            vec![Edit("underlay.yaml", "address: 192.168.99.2", "address: 192.168.11.2")],
            found("nic-without-address", &["spec.neighbors[192.168.99.2].address", "toswitch has 192.168.11.3/24"])
                .with(NO_SESSION.0, NO_SESSION.1)
                .alerting(FABRIC_DOWN),
        ),
        fault(
            "the port of the leaf is down",
            vec![Step::Leaf("leafkind", &["interface node0", "shutdown"])],
            vec![Step::Leaf("leafkind", &["interface node0", "no shutdown"])],
            found("link-down", &["NIC toswitch is down: no carrier", "spec.nics"]).alerting(&[
                "PerouterFabricDown",
                "PerouterNicDown",
                "PerouterSessionDown",
            ]),
        ),
    ]
}

/// No fault: the leaf advertises a default route in place of the VTEPs.
pub const DEFAULT_ROUTE_ALONE: Step = Step::Leaf(
    "leafkind",
    &[
        "ip prefix-list DEFAULT permit 0.0.0.0/0",
        "router bgp 64512",
        "address-family ipv4 unicast",
        "neighbor nodes default-originate",
        "neighbor nodes prefix-list DEFAULT out",
    ],
);
pub const VTEPS_AGAIN: Step = Step::Leaf(
    "leafkind",
    &[
        "router bgp 64512",
        "address-family ipv4 unicast",
        "no neighbor nodes default-originate",
        "no neighbor nodes prefix-list DEFAULT out",
    ],
);

/// Faults of what the fabric advertises.
fn route_faults() -> Vec<Fault> {
    use Step::Leaf;
    vec![fault(
        "the VTEP of leafA is not advertised",
        vec![Leaf(
            "leafkind",
            &[
                "ip prefix-list NOT seq 5 deny 100.64.0.1/32",
                "ip prefix-list NOT seq 10 permit 0.0.0.0/0 le 32",
                "router bgp 64512",
                "address-family ipv4 unicast",
                "neighbor nodes prefix-list NOT out",
            ],
        )],
        vec![Leaf(
            "leafkind",
            &["router bgp 64512", "address-family ipv4 unicast", "no neighbor nodes prefix-list NOT out"],
        )],
        found("vtep-unreachable", &["no route leads to VTEP 100.64.0.1", "192.168.20.0/24"])
            .traced("192.168.20.2", "FAIL  fabric  no route leads to VTEP 100.64.0.1"),
    )]
}

/// Faults of targets and links.
fn target_faults() -> Vec<Fault> {
    use Step::{Leaf, Router};
    vec![
        fault(
            "leafA exports another route target",
            vec![Leaf(
                "leafA",
                &["router bgp 64520 vrf red", "address-family l2vpn evpn", "route-target export 64520:999"],
            )],
            vec![Leaf(
                "leafA",
                &["router bgp 64520 vrf red", "address-family l2vpn evpn", "no route-target export 64520:999"],
            )],
            found("not-imported", &["64520:999", "192.168.20.0/24", "spec.routeTargets.import", "64514:100"])
                .traced("192.168.20.2", "which VRF red does not import"),
        ),
        fault(
            "the NIC has a small MTU",
            vec![Router(&["ip", "link", "set", "toswitch", "mtu", "1500"])],
            vec![Router(&["ip", "link", "set", "toswitch", "mtu", "9500"])],
            found("mtu-small", &["NIC toswitch has MTU 1500", "1450", "set MTU 1550"]),
        ),
    ]
}

/// Faults of the session with the host.
fn host_session_faults() -> Vec<Fault> {
    use Step::{Edit, Host};
    vec![
        fault(
            "the host has shut down its session",
            vec![Host(&["router bgp 64515", "neighbor 192.169.10.1 shutdown"])],
            vec![Host(&["router bgp 64515", "no neighbor 192.169.10.1 shutdown"])],
            found("shut-down", &["\"vrf\":\"red\"", HOST])
                .with(SESSIONS_DOWN.0, SESSIONS_DOWN.1)
                .alerting(SESSION_DOWN),
        ),
        fault(
            "the host expects another AS number",
            vec![Host(&["router bgp 64515", "neighbor 192.169.10.1 remote-as 64999"])],
            vec![Host(&["router bgp 64515", "neighbor 192.169.10.1 remote-as 64514"])],
            found("wrong-asn", &["\"vrf\":\"red\"", "spec.asn", "expects another AS number than 64514"])
                .with(SESSIONS_DOWN.0, SESSIONS_DOWN.1)
                .alerting(SESSION_DOWN),
        ),
        fault(
            "hostasn is not that of the host",
            vec![Edit("red.yaml", "hostasn: 64515", "hostasn: 64998")],
            vec![Edit("red.yaml", "hostasn: 64998", "hostasn: 64515")],
            found("wrong-asn", &["\"name\":\"red\"", "spec.hostasn", "another AS number than 64998"])
                .with(SESSIONS_DOWN.0, SESSIONS_DOWN.1)
                .alerting(SESSION_DOWN),
        ),
        fault(
            "the host has another password",
            vec![
                Edit(
                    "red.yaml",
                    "  hostasn: 64515",
                    "  hostasn: 64515\n  hostSession: {passwordSecret: {name: host, key: red}}",
                ),
                Host(&["router bgp 64515", "neighbor 192.169.10.1 password another"]),
            ],
            vec![
                Edit("red.yaml", "\n  hostSession: {passwordSecret: {name: host, key: red}}", ""),
                Host(&["router bgp 64515", "no neighbor 192.169.10.1 password"]),
            ],
            found("wrong-password", &["spec.hostSession.passwordSecret", HOST, "the TCP MD5 passwords differ"])
                .with(SESSIONS_DOWN.0, SESSIONS_DOWN.1)
                .alerting(SESSION_DOWN),
        ),
    ]
}

/// Faults of what the host offers and accepts.
fn host_family_faults() -> Vec<Fault> {
    use Step::Host;
    vec![
        fault(
            "the host does not offer IPv4",
            vec![Host(&[
                "router bgp 64515",
                "address-family ipv4 unicast",
                "no neighbor 192.169.10.1 activate",
                "exit-address-family",
                "address-family ipv6 unicast",
                "neighbor 192.169.10.1 activate",
            ])],
            vec![Host(&[
                "router bgp 64515",
                "address-family ipv6 unicast",
                "no neighbor 192.169.10.1 activate",
                "exit-address-family",
                "address-family ipv4 unicast",
                "neighbor 192.169.10.1 activate",
                "neighbor 192.169.10.1 route-map peerred-in in",
                "neighbor 192.169.10.1 route-map peerred-out out",
            ])],
            found("family-not-negotiated", &["\"vrf\":\"red\"", HOST]),
        ),
        fault(
            "the host offers IPv6 on its IPv4 session",
            vec![Host(&["router bgp 64515", "address-family ipv6 unicast", "neighbor 192.169.10.1 activate"])],
            vec![Host(&["router bgp 64515", "address-family ipv6 unicast", "no neighbor 192.169.10.1 activate"])],
            found("family-not-carried", &["offers IPv6 unicast", "spec.localcidr.ipv6"]),
        ),
        fault(
            "the host advertises the next hop of another node",
            vec![Host(&["route-map peerred-out permit 10", "set ip next-hop 192.169.10.77"])],
            vec![Host(&["route-map peerred-out permit 10", "no set ip next-hop"])],
            found("third-party-next-hop", &["172.30.0.10/32", "192.169.10.77", "next-hop-self"]).alerting(FILTERED),
        ),
        fault(
            "the host accepts no route",
            vec![Host(&["route-map peerred-in deny 5"])],
            vec![Host(&["no route-map peerred-in deny 5"])],
            found("no-return-route", &["\"vrf\":\"red\"", "has no route to it", "toReceive"]),
        ),
    ]
}

/// Filters and limits of the host session.
fn host_filter_faults() -> Vec<Fault> {
    use Step::{Edit, Host};
    vec![
        fault(
            "fromHost filters the service",
            vec![Edit(
                "red.yaml",
                "  hostasn: 64515",
                "  hostasn: 64515\n  fromHost: {allowedPrefixes: [{prefix: 10.0.0.0/8}]}",
            )],
            vec![Edit("red.yaml", "\n  fromHost: {allowedPrefixes: [{prefix: 10.0.0.0/8}]}", "")],
            found("prefix-filtered", &["172.30.0.10/32", "spec.fromHost.allowedPrefixes"]).alerting(FILTERED).traced(
                "172.30.0.10",
                "FAIL  host    192.169.10.2 advertises 172.30.0.10/32, which spec.fromHost filters",
            ),
        ),
        fault(
            "the host advertises more than maxPrefixes",
            vec![
                Edit("red.yaml", "  hostasn: 64515", "  hostasn: 64515\n  fromHost: {maxPrefixes: 1}"),
                Host(&[
                    "ip prefix-list peerred-out seq 100 permit 172.30.0.0/24 le 32",
                    "router bgp 64515",
                    "address-family ipv4 unicast",
                    "network 172.30.0.11/32",
                    "network 172.30.0.12/32",
                ]),
            ],
            vec![
                Host(&[
                    "no ip prefix-list peerred-out seq 100 permit 172.30.0.0/24 le 32",
                    "router bgp 64515",
                    "address-family ipv4 unicast",
                    "no network 172.30.0.11/32",
                    "no network 172.30.0.12/32",
                ]),
                Edit("red.yaml", "\n  fromHost: {maxPrefixes: 1}", ""),
            ],
            found("too-many-prefixes", &["maxPrefixes", HOST])
                .with(SESSIONS_DOWN.0, SESSIONS_DOWN.1)
                .alerting(SESSION_DOWN),
        ),
    ]
}

/// All of the fabric's side.
pub fn fabric_faults() -> Vec<Fault> {
    [family_faults(), fabric_session_faults(), route_faults(), target_faults()].into_iter().flatten().collect()
}

/// All of the host's side, and those of objects.
pub fn host_faults() -> Vec<Fault> {
    let all = [host_session_faults(), host_family_faults(), host_filter_faults(), object_faults()];
    all.into_iter().flatten().collect()
}

/// Faults of objects.
fn object_faults() -> Vec<Fault> {
    use Step::{Node, Remove, Write};
    vec![
        fault(
            "a VNI is used twice",
            vec![Write("yellow.yaml", || l3vni("yellow", 100, "192.169.14.0/24"))],
            vec![Remove("yellow.yaml")],
            found("object-rejected", &["\"name\":\"yellow\"", "\"field\":\"spec.vni\""])
                .with("Degraded", "Rejected")
                .alerting(REJECTED),
        ),
        fault(
            "localcidr is in a network of the node",
            vec![
                Node(&["ip", "link", "add", "mgmt0", "type", "bridge"]),
                Node(&["ip", "address", "add", "172.18.0.3/16", "dev", "mgmt0"]),
                Node(&["ip", "link", "set", "mgmt0", "up"]),
                Write("yellow.yaml", || l3vni("yellow", 300, "172.18.0.0/24")),
            ],
            vec![Remove("yellow.yaml"), Node(&["ip", "link", "del", "mgmt0"])],
            found("object-rejected", &["\"name\":\"yellow\"", "spec.localcidr.ipv4", "mgmt0"])
                .with("Degraded", "Rejected")
                .alerting(REJECTED),
        ),
    ]
}
