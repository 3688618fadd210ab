//! Faults of a fabric in which somebody else has an address of the node, as a table: how each is made and repaired, and what must be
//! found. It runs nothing.

use super::broken_fabrics_faults::{CHECK_FAILED, Fault, Step, fault, found};

/// The addresses of the node with index 0 are 100.65.0.1 and 10.0.0.1.
pub fn duplicate_faults() -> Vec<Fault> {
    use Step::Leaf;
    vec![
        fault(
            "the leaf advertises the VTEP of the node",
            vec![Leaf(
                "leafkind",
                &[
                    "ip route 100.65.0.1/32 blackhole",
                    "router bgp 64512",
                    "address-family ipv4 unicast",
                    "network 100.65.0.1/32",
                ],
            )],
            vec![Leaf(
                "leafkind",
                &[
                    "no ip route 100.65.0.1/32 blackhole",
                    "router bgp 64512",
                    "address-family ipv4 unicast",
                    "no network 100.65.0.1/32",
                ],
            )],
            found(
                "duplicate-vtep",
                &[
                    "AS 64512 advertises the VTEP address 100.65.0.1 of this node",
                    "192.168.11.2 advertises 100.65.0.1/32 with AS path 64512 and next hop 192.168.11.2",
                    "have AS 64512 withdraw it",
                    "\"field\":\"spec.vtepcidr\"",
                ],
            )
            .with("Degraded", "CheckFailed")
            .alerting(CHECK_FAILED),
        ),
        fault(
            "leafA has the router id of the node",
            vec![Leaf("leafA", &["router bgp 64520 vrf red", "address-family l2vpn evpn", "rd 10.0.0.1:77"])],
            // FRR 8.4 keeps a route distinguisher after its `no rd`.
            vec![Leaf("leafA", &["router bgp 64520 vrf red", "address-family l2vpn evpn", "rd 100.64.0.1:77"])],
            found(
                "duplicate-router-id",
                &[
                    "another node has the router id 10.0.0.1 of this node",
                    "VTEP 100.64.0.1 advertises 192.168.20.0/24 with RD 10.0.0.1:77",
                    "\"field\":\"spec.routeridcidr\"",
                ],
            )
            .with("Degraded", "CheckFailed")
            .alerting(CHECK_FAILED),
        ),
    ]
}
