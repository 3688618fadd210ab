//! Faults of the EVPN routes that a node receives, as a table: filtered, of another VNI, with another next hop, and filtered towards the
//! host. It runs nothing.

use super::broken_fabrics_faults::{CHECK_FAILED, Fault, HOST_A, SERVICE, Step, fault, found};

/// All of them.
pub fn evpn_route_faults() -> Vec<Fault> {
    [underlay_faults(), evpn_faults(), vrf_faults()].into_iter().flatten().collect()
}

/// Until one is lost, and once more: the address of the next hop is resolved for packets alone.
const PINGS: &str =
    "for i in $(seq 50); do ping -c 1 -W 0.3 192.168.20.2 || break; sleep 0.2; done; ping -c 1 -W 1 192.168.20.2; true";

const LEAF: &str = "leafkind";

/// What the leaf of the node does to the routes to VTEPs.
fn underlay_faults() -> Vec<Fault> {
    use Step::{Leaf, Node};
    vec![fault(
        "nobody has the next hop of the route to a VTEP",
        vec![
            Leaf(
                LEAF,
                &[
                    "ip prefix-list LEAFA permit 100.64.0.1/32",
                    "route-map ASIDE permit 10",
                    "match ip address prefix-list LEAFA",
                    "set ip next-hop 192.168.11.77",
                    "route-map ASIDE permit 20",
                    "router bgp 64512",
                    "address-family ipv4 unicast",
                    "neighbor nodes route-map ASIDE out",
                ],
            ),
            Node(&["sh", "-c", PINGS]),
        ],
        vec![Leaf(LEAF, &["router bgp 64512", "address-family ipv4 unicast", "no neighbor nodes route-map ASIDE out"])],
        found(
            "vtep-unreachable",
            &["packets to VTEP 100.64.0.1 are lost: the next hop 192.168.11.77 does not answer ARP on toswitch"],
        )
        .with("Degraded", "CheckFailed")
        .alerting(CHECK_FAILED)
        .stopped(HOST_A, &["FAIL  route   packets to VTEP 100.64.0.1 are lost", "192.168.11.77 does not answer ARP"]),
    )]
}

/// What the leaf of the node does to EVPN routes.
fn evpn_faults() -> Vec<Fault> {
    use Step::Leaf;
    vec![
        fault(
            "the leaf filters all EVPN routes",
            vec![Leaf(
                LEAF,
                &[
                    "route-map NOTHING deny 10",
                    "router bgp 64512",
                    "address-family l2vpn evpn",
                    "neighbor nodes route-map NOTHING out",
                ],
            )],
            vec![Leaf(
                LEAF,
                &["router bgp 64512", "address-family l2vpn evpn", "no neighbor nodes route-map NOTHING out"],
            )],
            found("no-fabric-routes", &["no EVPN route of the fabric is received from 192.168.11.2", "spec.neighbors"])
                .traced(SERVICE, &["WARN  VRF     VRF red has no route of the fabric"]),
        ),
        fault(
            "the leaf sets its address as the next hop",
            vec![Leaf(
                LEAF,
                &[
                    "route-map SELF permit 10",
                    "set ip next-hop 192.168.11.2",
                    "router bgp 64512",
                    "address-family l2vpn evpn",
                    "neighbor nodes route-map SELF out",
                ],
            )],
            vec![Leaf(
                LEAF,
                &["router bgp 64512", "address-family l2vpn evpn", "no neighbor nodes route-map SELF out"],
            )],
            found("next-hop-changed", &["192.168.11.2 sets its own address as the next hop", "attribute-unchanged"])
                .with("Degraded", "CheckFailed")
                .alerting(CHECK_FAILED)
                .stopped(HOST_A, &["FAIL  fabric  192.168.11.2 sets its own address as the next hop"]),
        ),
    ]
}

/// VNI, route targets and filter of a VRF.
fn vrf_faults() -> Vec<Fault> {
    use Step::{Edit, Leaf};
    vec![
        fault(
            "the VRF has another VNI than in the fabric",
            vec![Edit("red.yaml", "vni: 100", "vni: 101")],
            vec![Edit("red.yaml", "vni: 101", "vni: 100")],
            found(
                "no-fabric-routes",
                &["VRF red has no route of the fabric", "VNI 100 with the route target", "spec.vni"],
            )
            .stopped(HOST_A, &["FAIL  fabric  VTEP 100.64.0.1 advertises 192.168.20.0/24 with VNI 100"]),
        ),
        fault(
            "leafA exports the route target of the other VRF",
            vec![Leaf(
                "leafA",
                &["router bgp 64520 vrf red", "address-family l2vpn evpn", "route-target export 64514:200"],
            )],
            vec![Leaf(
                "leafA",
                &["router bgp 64520 vrf red", "address-family l2vpn evpn", "no route-target export 64514:200"],
            )],
            found("vni-mismatch", &["VRF blue imports 192.168.20.0/24", "it has VNI 100, and FRR sends with VNI 200"])
                .stopped(HOST_A, &["FAIL  fabric  VTEP 100.64.0.1 advertises 192.168.20.0/24", "64514:200"]),
        ),
        fault(
            "toHost filters all routes",
            vec![Edit(
                "red.yaml",
                "  hostasn: 64515",
                "  hostasn: 64515\n  toHost: {allowedPrefixes: [{prefix: 10.99.0.0/24}]}",
            )],
            vec![Edit("red.yaml", "\n  toHost: {allowedPrefixes: [{prefix: 10.99.0.0/24}]}", "")],
            found(
                "no-return-route",
                &["no IPv4 unicast route is advertised to 192.169.10.2", "spec.toHost.allowedPrefixes"],
            )
            .stopped(HOST_A, &["FAIL  host    advertised to no host session: spec.toHost filters it"]),
        ),
    ]
}
