//! Faults of a fabric, as a table: how each is made and repaired, and what must be found. It runs nothing.

const LEAF: &str = "192.168.11.2";

/// What must be found of a fault.
pub struct Expected {
    pub kind: &'static str,
    /// Parts of the finding as JSON: of its place, object, field, what, evidence or remedy.
    pub words: &'static [&'static str],
    /// A condition and its reason, where the controller sees the fault.
    pub condition: Option<(&'static str, &'static str)>,
    pub trace: Trace,
    /// The alerts of `deploy/` that fire, and no others.
    pub alerts: &'static [&'static str],
}

/// What `perouter trace ADDRESS --vrf red` must say of a fault.
pub struct Trace {
    pub address: &'static str,
    pub exit: i32,
    /// Parts of what it prints; of none both paths must be complete.
    pub words: &'static [&'static str],
}

/// A service behind the host, and a host behind leafA.
pub const SERVICE: &str = "172.30.0.10";
pub const HOST_A: &str = "192.168.20.2";

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
    /// A command in the namespace of VRF red.
    Vrf(&'static [&'static str]),
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

pub fn fault(what: &'static str, breaks: Vec<Step>, repair: Vec<Step>, expected: Expected) -> Fault {
    Fault { what, breaks, repair, expected }
}

/// The finding of a fault. Unless said otherwise, the service is traced and both paths are complete.
pub fn found(kind: &'static str, words: &'static [&'static str]) -> Expected {
    let trace = Trace { address: SERVICE, exit: 0, words: &[] };
    Expected { kind, words, condition: None, trace, alerts: &[] }
}

impl Expected {
    pub fn with(self, condition: &'static str, reason: &'static str) -> Self {
        Self { condition: Some((condition, reason)), ..self }
    }

    pub fn alerting(self, alerts: &'static [&'static str]) -> Self {
        Self { alerts, ..self }
    }

    /// The path is incomplete, and the trace says so.
    pub fn stopped(self, address: &'static str, words: &'static [&'static str]) -> Self {
        Self { trace: Trace { address, exit: 1, words }, ..self }
    }

    /// The path is complete, and the trace shows this.
    pub fn traced(self, address: &'static str, words: &'static [&'static str]) -> Self {
        Self { trace: Trace { address, exit: 0, words }, ..self }
    }
}

const NO_SESSION: (&str, &str) = ("FabricConnected", "NoFabricSession");

const FABRIC_DOWN: &[&str] = &["PerouterFabricDown", "PerouterSessionDown"];
pub const CHECK_FAILED: &[&str] = &["PerouterCheckFailed"];

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
            .stopped(SERVICE, &["FAIL  fabric  L2VPN EVPN is not negotiated with 192.168.11.2"]),
        ),
        fault(
            "the leaf has no IPv4 unicast for the node",
            leaf(&["router bgp 64512", "address-family ipv4 unicast", "no neighbor nodes activate"]),
            leaf(&["router bgp 64512", "address-family ipv4 unicast", "neighbor nodes activate"]),
            found("family-not-negotiated", &["IPv4 unicast", LEAF])
                .with("Degraded", "CheckFailed")
                .alerting(CHECK_FAILED)
                .stopped(HOST_A, &["FAIL  fabric  no route leads to VTEP 100.64.0.1"]),
        ),
        fault(
            "the leaf is shut down",
            leaf(&["router bgp 64512", "neighbor 192.168.11.3 shutdown"]),
            leaf(&["router bgp 64512", "no neighbor 192.168.11.3 shutdown"]),
            found("shut-down", &[LEAF, "administrator", "enable the neighbor"])
                .with(NO_SESSION.0, NO_SESSION.1)
                .alerting(FABRIC_DOWN)
                .stopped(
                    SERVICE,
                    &["FAIL  fabric  session with 192.168.11.2 is", "the peer is shut down by its administrator"],
                ),
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
                .alerting(FABRIC_DOWN)
                .stopped(
                    SERVICE,
                    &["FAIL  fabric  session with 192.168.11.2 is", "the peer expects another AS number than 64514"],
                ),
        ),
        fault(
            "the Underlay has another AS number of the leaf",
            vec![Edit("underlay.yaml", "asn: 64512", "asn: 64999")],
            vec![Edit("underlay.yaml", "asn: 64999", "asn: 64512")],
            found("wrong-asn", &["spec.neighbors[192.168.11.2].asn", "another AS number than 64999"])
                .with(NO_SESSION.0, NO_SESSION.1)
                .alerting(FABRIC_DOWN)
                .stopped(
                    SERVICE,
                    &["FAIL  fabric  session with 192.168.11.2 is", "the peer has another AS number than 64999"],
                ),
        ),
        fault(
            "the leaf has no neighbor for the node",
            leaf(&["router bgp 64512", "no neighbor 192.168.11.3 peer-group nodes"]),
            leaf(&["router bgp 64512", "neighbor 192.168.11.3 peer-group nodes"]),
            found("no-answer", &[LEAF, "spec.neighbors[192.168.11.2]"])
                .with(NO_SESSION.0, NO_SESSION.1)
                .alerting(FABRIC_DOWN)
                .stopped(SERVICE, &["FAIL  fabric  session with 192.168.11.2 is", "192.168.11.2 does not answer"]),
        ),
        fault(
            "the leaf has a password",
            leaf(&["router bgp 64512", "neighbor 192.168.11.3 password secret"]),
            leaf(&["router bgp 64512", "no neighbor 192.168.11.3 password"]),
            found("wrong-password", &[LEAF, "passwordSecret", "and this session has none"])
                .with(NO_SESSION.0, NO_SESSION.1)
                .alerting(FABRIC_DOWN)
                .stopped(SERVICE, &["FAIL  fabric  session with 192.168.11.2 is", "the TCP MD5 passwords differ"]),
        ),
    ]
}

/// Faults of the link to the leaf.
fn fabric_link_faults() -> Vec<Fault> {
    use Step::Edit;
    vec![
        fault(
            "the NIC has no address in the subnet of the leaf",
            vec![Edit("underlay.yaml", "address: 192.168.11.2", "address: 192.168.99.2")],
            vec![Edit("underlay.yaml", "address: 192.168.99.2", "address: 192.168.11.2")],
            found("nic-without-address", &["spec.neighbors[192.168.99.2].address", "toswitch has 192.168.11.3/24"])
                .with(NO_SESSION.0, NO_SESSION.1)
                .alerting(FABRIC_DOWN)
                .stopped(
                    SERVICE,
                    &[
                        "FAIL  fabric  session with 192.168.99.2 is",
                        "no NIC has an address in the subnet of 192.168.99.2",
                    ],
                ),
        ),
        fault(
            "the Underlay has an address of the leaf that nobody has",
            vec![Edit("underlay.yaml", "address: 192.168.11.2", "address: 192.168.11.9")],
            vec![Edit("underlay.yaml", "address: 192.168.11.9", "address: 192.168.11.2")],
            found(
                "not-resolved",
                &["192.168.11.9 does not answer ARP on toswitch", "spec.neighbors[192.168.11.9].address"],
            )
            .with(NO_SESSION.0, NO_SESSION.1)
            .alerting(FABRIC_DOWN)
            .stopped(SERVICE, &["FAIL  fabric  session with 192.168.11.9 is", "does not answer ARP on toswitch"]),
        ),
        fault(
            "the port of the leaf is down",
            vec![Step::Leaf("leafkind", &["interface node0", "shutdown"])],
            vec![Step::Leaf("leafkind", &["interface node0", "no shutdown"])],
            found("link-down", &["NIC toswitch is down: no carrier", "spec.nics"])
                .alerting(&["PerouterFabricDown", "PerouterNicDown", "PerouterSessionDown"])
                .stopped(SERVICE, &["FAIL  fabric  session with 192.168.11.2 is", "NIC toswitch is down: no carrier"]),
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
            .with("Degraded", "CheckFailed")
            .alerting(CHECK_FAILED)
            .stopped(HOST_A, &["FAIL  fabric  no route leads to VTEP 100.64.0.1"]),
    )]
}

const DELETE_ROUTER_MAC: &str = "bridge fdb del $(bridge fdb show dev vni100 | awk '/dst 100.64.0.1 / { print $1; exit }') dev vni100 \
                                 dst 100.64.0.1 self";

/// Faults of targets and links.
fn target_faults() -> Vec<Fault> {
    use Step::{Leaf, Node, Router, Vrf};
    vec![
        fault(
            "the router MAC of a VTEP is deleted",
            vec![Vrf(&["sh", "-c", DELETE_ROUTER_MAC])],
            vec![Node(&["vtysh", "--vty_socket", "/run/perouter/frr", "-c", "clear bgp *"])],
            found("router-mac-missing", &["VRF red cannot send to VTEP 100.64.0.1", "192.168.20.0/24"])
                .with("Degraded", "CheckFailed")
                .alerting(CHECK_FAILED)
                .stopped(HOST_A, &["FAIL  kernel  VRF red cannot send to VTEP 100.64.0.1"]),
        ),
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
            found("not-imported", &["64520:999", "192.168.20.0/24", "spec.routeTargets.import", "64514:100"]).stopped(
                HOST_A,
                &["FAIL  fabric  VTEP 100.64.0.1 advertises 192.168.20.0/24", "which VRF red does not import"],
            ),
        ),
        fault(
            "a route by hand discards the packets to a VTEP",
            vec![Router(&["ip", "route", "add", "blackhole", "100.64.0.1/32", "metric", "1"])],
            vec![Router(&["ip", "route", "del", "blackhole", "100.64.0.1/32", "metric", "1"])],
            found("vtep-unreachable", &["100.64.0.1", "the route that is used discards them", "show ip route"])
                .with("Degraded", "CheckFailed")
                .alerting(CHECK_FAILED)
                .stopped(
                    HOST_A,
                    &["FAIL  route   packets to VTEP 100.64.0.1 are lost: the route that is used discards them"],
                ),
        ),
        fault(
            "the NIC has a small MTU",
            vec![Router(&["ip", "link", "set", "toswitch", "mtu", "1500"])],
            vec![Router(&["ip", "link", "set", "toswitch", "mtu", "9500"])],
            found("mtu-small", &["NIC toswitch has MTU 1500", "1450", "set MTU 1550"])
                .traced(SERVICE, &["packets of 1450 bytes fit: toswitch 1500"]),
        ),
    ]
}

/// Faults by nftables, which not every kernel has.
pub fn packet_filter_faults() -> Vec<Fault> {
    use Step::Router;
    vec![fault(
        "somebody filters packets in the namespace of the router",
        vec![Router(&["sh", "-c", DROP_VXLAN])],
        vec![Router(&["nft", "delete", "table", "inet", "mine"])],
        found("packet-filter", &["drop packets in the namespace of the router: inet mine", "UDP 4789"]).traced(
            SERVICE,
            &["WARN  links   tables of nftables that are not from perouter may drop packets in the namespace of the router"],
        ),
    )]
}

/// Sessions stay established: only what is encapsulated is dropped.
const DROP_VXLAN: &str = "nft 'add table inet mine; add chain inet mine in { type filter hook input priority 0; }; \
                          add rule inet mine in udp dport 4789 drop'";

/// All of the fabric's side.
pub fn fabric_faults() -> Vec<Fault> {
    [family_faults(), fabric_session_faults(), fabric_link_faults(), route_faults(), target_faults()]
        .into_iter()
        .flatten()
        .collect()
}
