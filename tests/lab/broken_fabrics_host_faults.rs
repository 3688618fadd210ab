//! Faults of a host and of objects, as a table: how each is made and repaired, and what must be found. It runs nothing.

use super::broken_fabrics_faults::{CHECK_FAILED, Fault, HOST_A, SERVICE, Step, fault, found};
use super::fixture::l3vni;

const HOST: &str = "192.169.10.2";
const SESSIONS_DOWN: (&str, &str) = ("Degraded", "SessionsDown");
const SESSION_DOWN: &[&str] = &["PerouterSessionDown"];
const REJECTED: &[&str] = &["PerouterObjectNotInPlace"];
const FILTERED: &[&str] = &["PerouterRoutesFiltered"];

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
                .alerting(SESSION_DOWN)
                .stopped(
                    SERVICE,
                    &["FAIL  VRF     no route covers 172.30.0.10", "the peer is shut down by its administrator"],
                ),
        ),
        fault(
            "the host expects another AS number",
            vec![Host(&["router bgp 64515", "neighbor 192.169.10.1 remote-as 64999"])],
            vec![Host(&["router bgp 64515", "neighbor 192.169.10.1 remote-as 64514"])],
            found("wrong-asn", &["\"vrf\":\"red\"", "spec.asn", "expects another AS number than 64514"])
                .with(SESSIONS_DOWN.0, SESSIONS_DOWN.1)
                .alerting(SESSION_DOWN)
                .stopped(
                    SERVICE,
                    &["FAIL  VRF     no route covers 172.30.0.10", "the peer expects another AS number than 64514"],
                ),
        ),
        fault(
            "hostasn is not that of the host",
            vec![Edit("red.yaml", "hostasn: 64515", "hostasn: 64998")],
            vec![Edit("red.yaml", "hostasn: 64998", "hostasn: 64515")],
            found("wrong-asn", &["\"name\":\"red\"", "spec.hostasn", "another AS number than 64998"])
                .with(SESSIONS_DOWN.0, SESSIONS_DOWN.1)
                .alerting(SESSION_DOWN)
                .stopped(
                    SERVICE,
                    &["FAIL  VRF     no route covers 172.30.0.10", "the peer has another AS number than 64998"],
                ),
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
                .alerting(SESSION_DOWN)
                .stopped(SERVICE, &["FAIL  VRF     no route covers 172.30.0.10", "the TCP MD5 passwords differ"]),
        ),
    ]
}

/// Faults of its AS number.
fn host_as_faults() -> Vec<Fault> {
    use Step::{Edit, Host};
    vec![fault(
        "the host is in the AS of the leaf",
        vec![
            Edit("red.yaml", "hostasn: 64515", "hostasn: 64512"),
            Host(&["router bgp 64515", "neighbor 192.169.10.1 local-as 64512 no-prepend replace-as"]),
        ],
        vec![
            Edit("red.yaml", "hostasn: 64512", "hostasn: 64515"),
            Host(&["router bgp 64515", "no neighbor 192.169.10.1 local-as"]),
        ],
        found("object-loses-routes", &["\"name\":\"red\"", "spec.hostasn", "use another AS number"])
            .with("Degraded", "CheckFailed")
            .stopped(
                SERVICE,
                &[
                    "FAIL  fabric  advertised to 192.168.11.2",
                    "as AS 64512 is its own",
                    "another AS number on the host",
                ],
            ),
    )]
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
            found("family-not-negotiated", &["\"vrf\":\"red\"", HOST])
                .alerting(SESSION_DOWN)
                .stopped(SERVICE, &["FAIL  VRF     no route covers 172.30.0.10", "no address family in common"]),
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
            found("third-party-next-hop", &["172.30.0.10/32", "192.169.10.77", "next-hop-self"])
                .alerting(FILTERED)
                .stopped(
                    SERVICE,
                    &["FAIL  host    192.169.10.2 advertises 172.30.0.10/32 with the next hop 192.169.10.77"],
                ),
        ),
        fault(
            "the host accepts no route",
            vec![Host(&["route-map peerred-in deny 5"])],
            vec![Host(&["no route-map peerred-in deny 5"])],
            found("no-return-route", &["\"vrf\":\"red\"", "has no route to it", "toReceive"])
                .with("Degraded", "CheckFailed")
                .alerting(CHECK_FAILED)
                .stopped(HOST_A, &["FAIL  host    the node has no route to 192.168.20.2"]),
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
            found("prefix-filtered", &["172.30.0.10/32", "spec.fromHost.allowedPrefixes"]).alerting(FILTERED).stopped(
                SERVICE,
                &["FAIL  host    192.169.10.2 advertises 172.30.0.10/32, which spec.fromHost filters"],
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
                .alerting(SESSION_DOWN)
                .stopped(
                    SERVICE,
                    &["FAIL  VRF     no route covers 172.30.0.10", "the peer sends more prefixes than maxPrefixes"],
                ),
        ),
    ]
}

/// All of the host's side, and those of objects.
pub fn host_faults() -> Vec<Fault> {
    let all = [host_session_faults(), host_as_faults(), host_family_faults(), host_filter_faults(), object_faults()];
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
