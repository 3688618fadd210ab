use super::*;
use crate::frr::config::batch::merge;
use crate::types::VrfName;
use rstest::rstest;

fn config(parts: &[(Daemon, &str)]) -> Config {
    let mut config = Config::default();
    for (daemon, text) in parts {
        assert!(config.absorb(*daemon, Tree::parse(text)).is_empty());
    }
    config
}

fn bgp(lines: &str) -> Config {
    config(&[(Daemon::Bgpd, &format!("router bgp 64514 vrf red\n{lines}"))])
}

fn red() -> Scope {
    Scope::Vrf("red".parse::<VrfName>().unwrap())
}

fn sent(batches: &[CommandBatch]) -> Vec<String> {
    let commands = batches.iter().flat_map(|batch| &batch.commands);
    commands.filter(|c| c.intent == Intent::Set).map(|c| c.line.send().to_owned()).collect()
}

fn edit_lines(have: &Config, want: &Config) -> Vec<String> {
    let change = diff(have, want);
    change.scopes.values().flat_map(|batches| sent(batches)).collect()
}

#[rstest]
#[case::in_the_as_of_the_default_instance(64514, "", &["vrf red", "vni 100", "router bgp 64514 vrf red"])]
#[case::in_an_as_of_its_own(64515, "", &["router bgp 64515 vrf red", "vrf red", "vni 100", "router bgp 64515 vrf red"])]
#[case::bgpd_was_restarted(64515, "vrf red\n vni 100", &[
    "no vni 100", "no router bgp 64514 vrf red", "router bgp 64515 vrf red", "vrf red", "vni 100", "router bgp 64515 vrf red",
])]
fn an_instance_in_an_as_of_its_own_is_created_before_bgpd_receives_the_vni(
    #[case] asn: u32,
    #[case] zebra: &str,
    #[case] lines: &[&str],
) {
    let underlay = (Daemon::Bgpd, "router bgp 64514");
    let have = config(&[underlay, (Daemon::Zebra, zebra)]);
    let instance = format!("router bgp {asn} vrf red");
    let want = config(&[underlay, (Daemon::Zebra, "vrf red\n vni 100"), (Daemon::Bgpd, &instance)]);
    assert_eq!(sent(&merge(diff(&have, &want).scopes[&red()].clone())), lines);
}

#[rstest]
#[case::value_is_replaced(" bgp router-id 10.0.0.1", " bgp router-id 10.0.0.2", &["bgp router-id 10.0.0.2"])]
#[case::value_is_removed(
    " neighbor 10.0.0.2 remote-as 1\n neighbor 10.0.0.2 timers 3 9",
    " neighbor 10.0.0.2 remote-as 1",
    &["no neighbor 10.0.0.2 timers"]
)]
#[case::what_an_external_peer_cannot_have_is_removed_before_it_is_one(
    " neighbor 10.0.0.2 remote-as 64514\n address-family ipv4 unicast\n  neighbor 10.0.0.2 route-reflector-client",
    " neighbor 10.0.0.2 remote-as 1\n address-family ipv4 unicast",
    &["no neighbor 10.0.0.2 route-reflector-client", "neighbor 10.0.0.2 remote-as 1", "clear bgp vrf red 10.0.0.2"]
)]
#[case::what_an_internal_peer_cannot_have_is_removed_before_it_is_one(
    " neighbor 10.0.0.2 remote-as 1\n address-family ipv4 unicast\n  neighbor 10.0.0.2 as-override",
    " neighbor 10.0.0.2 remote-as 64514\n address-family ipv4 unicast",
    &["no neighbor 10.0.0.2 as-override", "neighbor 10.0.0.2 remote-as 64514", "clear bgp vrf red 10.0.0.2"]
)]
#[case::another_as_is_no_other_neighbor(
    " neighbor 10.0.0.2 remote-as 1\n neighbor 10.0.0.2 port 5",
    " neighbor 10.0.0.2 remote-as external\n neighbor 10.0.0.2 port 5",
    &["neighbor 10.0.0.2 remote-as external", "clear bgp vrf red 10.0.0.2"]
)]
#[case::another_as_of_an_interface(
    " neighbor eth1 interface remote-as 1\n neighbor eth1 timers 3 9",
    " neighbor eth1 interface remote-as 2\n neighbor eth1 timers 3 9",
    &["neighbor eth1 interface remote-as 2", "clear bgp vrf red eth1"]
)]
#[case::another_address_is_another_neighbor(
    " neighbor 10.0.0.2 remote-as 1\n address-family ipv4 unicast\n  neighbor 10.0.0.2 activate",
    " neighbor 10.0.0.3 remote-as 1\n address-family ipv4 unicast\n  neighbor 10.0.0.3 activate",
    &["no neighbor 10.0.0.2 remote-as 1", "neighbor 10.0.0.3 remote-as 1", "neighbor 10.0.0.3 activate"]
)]
#[case::bfd_is_removed_with_its_profile(
    " neighbor 10.0.0.2 remote-as 1\n neighbor 10.0.0.2 bfd\n neighbor 10.0.0.2 bfd profile p",
    " neighbor 10.0.0.2 remote-as 1",
    &["no neighbor 10.0.0.2 bfd"]
)]
#[case::a_new_target_is_added_before_the_old_one_is_removed(
    " address-family l2vpn evpn\n  route-target import 1:1",
    " address-family l2vpn evpn\n  route-target import 1:2",
    &["route-target import 1:2", "no route-target import 1:1"]
)]
#[case::lines_typed_by_hand_stay(" neighbor 10.0.0.2 description mine\n bgp dampening", "", &[])]
fn an_edit_sends_its_own_lines_only(#[case] have: &str, #[case] want: &str, #[case] lines: &[&str]) {
    assert_eq!(edit_lines(&bgp(have), &bgp(want)), lines);
}

#[rstest]
#[case::alone("", "64514:100", &["route-target import 65535:65535", "route-target import 64514:100", "no route-target import 65535:65535"])]
#[case::after_others("", "64514:100 64514:999 64514:1", &["route-target import 64514:1", "route-target import 64514:999", "route-target import 64514:100"])]
#[case::beside_one_that_stays("64514:999", "64514:100 64514:999", &["route-target import 64514:100"])]
#[case::of_another("", "64514:999", &["route-target import 64514:999"])]
fn the_derived_target_is_added_when_it_is_not_in_force(#[case] have: &str, #[case] want: &str, #[case] lines: &[&str]) {
    let with = |targets: &str| {
        let stanza = "router bgp 64514 vrf red\n address-family l2vpn evpn\n  advertise ipv4 unicast".to_owned();
        let bgp = targets.split_whitespace().fold(stanza, |bgp, target| bgp + "\n  route-target import " + target);
        config(&[(Daemon::Zebra, "vrf red\n vni 100"), (Daemon::Bgpd, &bgp)])
    };
    assert_eq!(edit_lines(&with(have), &with(want)), lines);
}

#[test]
fn a_policy_is_added_before_and_removed_after_its_use() {
    let with = |digest: &str, prefix: &str| {
        let map = format!("pe-vrf-red-in-v4-{digest}");
        config(&[(
            Daemon::Bgpd,
            &format!(
                "router bgp 64514 vrf red\n neighbor 10.0.0.2 remote-as 1\n address-family ipv4 unicast\n  \
                 neighbor 10.0.0.2 route-map {map} in\nip prefix-list {map} seq 5 permit {prefix}\n\
                 route-map {map} permit 10\n match ip address prefix-list {map}\n"
            ),
        )])
    };
    let lines = edit_lines(&with("0000000a", "10.0.0.0/8"), &with("0000000b", "10.0.0.0/9"));
    let expected = [
        "ip prefix-list pe-vrf-red-in-v4-0000000b seq 5 permit 10.0.0.0/9",
        "route-map pe-vrf-red-in-v4-0000000b permit 10",
        "match ip address prefix-list pe-vrf-red-in-v4-0000000b",
        "neighbor 10.0.0.2 route-map pe-vrf-red-in-v4-0000000b in",
        "no route-map pe-vrf-red-in-v4-0000000a permit 10",
        "no ip prefix-list pe-vrf-red-in-v4-0000000a seq 5",
    ];
    assert_eq!(lines, expected);
}

/// The L3VNI of the default VRF: no IP-VRF can have its VNI.
#[test]
fn a_vni_outside_of_the_vrfs_is_removed() {
    let want = config(&[(Daemon::Zebra, "zebra work-queue 0\nvrf red\n vni 100\nexit-vrf\n")]);
    let have = config(&[(Daemon::Zebra, "zebra work-queue 0\nvni 100\nvrf red\nexit-vrf\n")]);
    let changes = diff(&have, &want).scopes;
    assert_eq!(sent(&changes[&Scope::Underlay]), ["no vni 100"]);
}

#[test]
fn commands_enter_and_leave_their_stanzas() {
    let have = bgp(" bgp router-id 10.0.0.1");
    let want = bgp(
        " bgp router-id 10.0.0.1\n address-family ipv4 unicast\n  network 10.0.0.0/24\n address-family l2vpn evpn\n  advertise ipv4 unicast",
    );
    let change = diff(&have, &want);
    let all: Vec<_> = change.scopes[&red()][0].commands.iter().map(ToString::to_string).collect();
    let expected = [
        "router bgp 64514 vrf red",
        " address-family ipv4 unicast",
        "  network 10.0.0.0/24",
        " exit-address-family",
        " address-family l2vpn evpn",
        "  advertise ipv4 unicast",
        " exit-address-family",
        "exit",
    ];
    assert_eq!(all, expected);
    assert_eq!(change.lines(), 4);
}

const VRF_RED: [(Daemon, &str); 3] = [
    (Daemon::Zebra, "vrf red\n vni 100\n"),
    (
        Daemon::Bgpd,
        "router bgp 64514 vrf red\n bgp router-id 10.0.0.1\nip prefix-list pe-vrf-red-in-v4-0000000a seq 5 permit 10.0.0.0/8\n\
         route-map pe-vrf-red-in-v4-0000000a permit 10\n",
    ),
    (Daemon::Bfdd, "bfd\n profile pe-vrf-red-bfd-v4\n"),
];

#[test]
fn another_vni_or_as_is_another_identity_and_a_missing_one_is_not() {
    let have = config(&VRF_RED);
    let clashes = |other: &Config| have.identity(&red()).clashes(other.identity(&red()));
    let other_vni = config(&[(Daemon::Zebra, "vrf red\n vni 101\n"), VRF_RED[1], VRF_RED[2]]);
    assert!(clashes(&other_vni));
    let other_as = config(&[VRF_RED[0], (Daemon::Bgpd, "router bgp 64515 vrf red\n"), VRF_RED[2]]);
    assert!(clashes(&other_as));
    // bgpd was restarted: zebra still has its part.
    let half = config(&[VRF_RED[0]]);
    assert!(!clashes(&half) && !diff(&half, &have).scopes[&red()].is_empty());
    assert!(!clashes(&Config::default()) && !diff(&Config::default(), &have).scopes[&red()].is_empty());
}

#[test]
fn a_scope_that_is_not_wanted_is_not_edited() {
    assert!(diff(&config(&VRF_RED), &Config::default()).is_empty());
}

#[test]
fn graceful_restart_needs_a_reset_of_all_sessions() {
    let change = diff(&bgp(" bgp router-id 10.0.0.1"), &bgp(" bgp router-id 10.0.0.1\n bgp graceful-restart"));
    let last = change.scopes[&red()].last().unwrap();
    assert_eq!(
        (last.mode, sent(std::slice::from_ref(last))),
        (CommandMode::Exec, vec!["clear bgp vrf red *".to_owned()])
    );
}

#[test]
fn lines_typed_by_hand_are_reported() {
    let have = bgp(" bgp router-id 10.0.0.1\n bgp dampening");
    let unknown = diff(&have, &bgp(" bgp router-id 10.0.0.1")).unknown;
    assert_eq!(unknown, [(red(), Daemon::Bgpd, "bgp dampening".to_owned())].into());
}
