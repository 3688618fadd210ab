//! Fabric sessions configured by address: one leaf over IPv4, one over a link with IPv6 only; EVPN with the spine between loopbacks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use perouter::frr::release::FRR_10_7;
use perouter::frr::show::session::SessionPhase;
use perouter_lab::node::Node;

use super::fabric::md5_failures;
use super::fixture::{Fixture, RED, SETTLE, Setup, bfd_interval, bfd_settings, lab_release, scaled, until, until_true};
use super::kernel_state::{host_next_hops, in_router, router_devices};

/// The VTEP of leafA.
const REMOTE: &str = "100.64.0.1";
const LEAF1: &str = "192.168.11.2";
const LEAF2: &str = "2001:db8:12::2";
const UNDERLAY: &str = "  neighbors:
    - address: 192.168.11.2
      asn: 64512
      connectTimeSeconds: 1
      passwordSecret: {name: fabric-bgp, key: leaf1}
    - address: 2001:db8:12::2
      asn: 64513
      connectTimeSeconds: 1
  gracefulRestart: {}
";

pub fn configure(leaf: &Node, asn: u32, lines: &[&str]) {
    let router = format!("router bgp {asn}");
    let lines = ["configure terminal", &router].into_iter().chain(lines.iter().copied());
    let words: Vec<&str> = std::iter::once("vtysh").chain(lines.flat_map(|line| ["-c", line])).collect();
    leaf.check(&words).unwrap();
}

fn await_devices(node: &Node, wanted: &[&str]) {
    until_true(&format!("{REMOTE} through {wanted:?} on the router"), || {
        router_devices(node, REMOTE).iter().eq(wanted)
    });
}

fn put_secret(fixture: &Fixture, key: &str, password: &str) {
    let file = fixture.path(&format!("secrets/fabric-bgp/{key}"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let temporary = file.with_file_name(".new");
    fs::write(&temporary, format!("{password}\n")).unwrap();
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&temporary, &file).unwrap();
}

/// How often the session with a leaf was established; `None` while it is down.
fn established_count(fixture: &mut Fixture, leaf: &str) -> Option<u64> {
    let session = fixture.router().sessions().into_iter().find(|session| session.peer == leaf)?;
    (session.phase == SessionPhase::Established).then_some(session.established)
}

/// How often each session except the one with leaf1 was established.
fn other_counts(fixture: &mut Fixture) -> BTreeMap<String, u64> {
    let sessions = fixture.router().sessions().into_iter().filter(|session| session.peer != LEAF1);
    sessions.map(|session| (session.peer, session.established)).collect()
}

#[test]
fn fabric_sessions_work_over_ipv4_and_ipv6_only_links_with_password_and_graceful_restart() {
    let setup = Setup::dual_homed(UNDERLAY);
    let Some(mut fixture) = Fixture::deploy("by-address", &[0], &setup) else { return };
    let node = fixture.router().node.clone();
    let [leaf1, leaf2] = ["leaf1", "leaf2"].map(|name| fixture.node(name).clone());
    node.check(&["ip", "address", "add", "192.168.11.3/24", "dev", "eth1"]).unwrap();
    node.check(&["ip", "address", "add", "2001:db8:12::3/64", "dev", "eth2", "nodad"]).unwrap();
    put_secret(&fixture, "leaf1", "the-first");
    configure(&leaf1, 64512, &["neighbor 192.168.11.3 password not-the-first"]);
    fixture.router().start();
    fixture.start_hosts();

    over_ipv6_only(&mut fixture, &node, &leaf1);
    password_change(&mut fixture, &node, &leaf1);
    let restarting = ["bgp graceful-restart", "bgp graceful-restart preserve-fw-state"];
    configure(&leaf2, 64513, &restarting);
    let before = established_count(&mut fixture, LEAF2);
    leaf2.check(&["vtysh", "-c", "clear bgp *"]).unwrap();
    until_true("a new session with leaf2", || established_count(&mut fixture, LEAF2) > before);
    await_router_mac(fixture.node("leafA"));
    graceful_restart(&mut fixture, &node, &leaf2, true);
    configure(&leaf1, 64512, &["neighbor 192.168.11.3 shutdown"]);
    graceful_restart(&mut fixture, &node, &leaf2, false);
}

/// Waits until leafA can send to the node. Of routes that are withdrawn and advertised again at once zebra of FRR 8 may lose the router
/// MAC, also with its settings against that (frr#14108): then leafA resets its sessions, as docs/leaves/frr.md says.
fn await_router_mac(leaf_a: &Node) {
    let is_known = || {
        let shown = leaf_a.check(&["vtysh", "-c", "show evpn next-hops vni all"]).unwrap();
        shown.matches("100.65.0.1").count() == 2
    };
    let release = lab_release();
    if release.zebra_settings.is_empty() {
        return until_true("the router MAC of the node at leafA", is_known);
    }
    for _ in 0..5 {
        let begin = Instant::now();
        while begin.elapsed() < scaled(Duration::from_secs(5)) {
            if is_known() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("zebra of FRR {} at leafA has lost the router MAC of the node: its sessions are reset", release.name);
        leaf_a.check(&["vtysh", "-c", "clear bgp *"]).unwrap();
    }
    panic!("leafA has no router MAC of the node");
}

/// The session with leaf1 fails because of its password; the one with leaf2 carries all routes, those of IPv4 VTEPs
/// included (RFC 8950).
fn over_ipv6_only(fixture: &mut Fixture, node: &Node, leaf1: &Node) {
    await_devices(node, &["eth2"]);
    let route = node.check(&[&in_router()[..], &["ip", "route", "show", "exact", REMOTE]].concat()).unwrap();
    assert!(route.contains("via inet6 fe80:") || route.contains("via 169.254.0.1 "), "{route}");
    let shown = node.check(&[&in_router()[..], &["ip", "-4", "address", "show", "dev", "eth2"]].concat());
    assert_eq!(shown.unwrap(), "", "eth2 has an IPv4 address");
    fixture.await_services();
    fixture.stream("red").finish();
    fixture.stream("blue").finish();
    let before = md5_failures(leaf1);
    until_true("segments with another password at leaf1", || md5_failures(leaf1) > before);
    until_true("the cause 'another password' in `perouter sessions`", || {
        let sessions = fixture.router().perouter(&["sessions"]).stdout;
        sessions.contains("segments with another TCP MD5 password, or with none, are received")
    });
}

fn password_change(fixture: &mut Fixture, node: &Node, leaf1: &Node) {
    let before = other_counts(fixture);
    configure(leaf1, 64512, &["neighbor 192.168.11.3 password the-first"]);
    await_devices(node, &["eth1", "eth2"]);
    fixture.router().await_ready(&[100, 200]);

    let stream = fixture.stream("red");
    put_secret(fixture, "leaf1", "the-second");
    until_true("the session with the old password going down", || established_count(fixture, LEAF1).is_none());
    configure(leaf1, 64512, &["neighbor 192.168.11.3 password the-second"]);
    until_true("the session with the new password", || established_count(fixture, LEAF1).is_some());
    await_devices(node, &["eth1", "eth2"]);
    println!("gap: the password of one of two leaves changes: {}", stream.finish());
    assert_eq!(other_counts(fixture), before, "a change of one password affected another session");
    let router = fixture.router();
    let shown = [router.perouter(&["status", "-o", "json"]).stdout, fs::read_to_string(router.log()).unwrap()];
    assert!(shown.iter().all(|text| !text.contains("the-second")), "{shown:#?}");
}

/// bgpd of leaf2 crashes and restarts, with leaf1 (`redundant`) or as the only leaf.
fn graceful_restart(fixture: &mut Fixture, node: &Node, leaf2: &Node, redundant: bool) {
    let devices: &[&str] = if redundant { &["eth1", "eth2"] } else { &["eth2"] };
    await_devices(node, devices);
    fixture.router().await_ready(&[100, 200]);
    fixture.stream("red").finish();
    let hosts = fixture.router().established(&[Some("red"), Some("blue")]);
    let stream = fixture.stream("red");
    let killed = Instant::now();
    let command = kill_bgpd(leaf2);
    let devices_after = until("the session with leaf2 going down", SETTLE, || {
        established_count(fixture, LEAF2).is_none().then(|| router_devices(node, REMOTE))
    });
    assert!(devices_after.iter().eq(devices), "the VTEP's route was removed with the session: {devices_after:?}");
    // FRR before 10.6 restarts gracefully for IPv4 and IPv6 unicast only (frr#9749): Type-5 routes stay only if another leaf
    // has them.
    let stay = redundant || fixture.router().release().since >= FRR_10_7.since;
    until_true("the effect on the Type-5 routes", || host_next_hops(node, "192.168.20.0/24").is_empty() != stay);
    leaf2.check(&["sh", "-c", &format!("{command} && vtysh -f /run/restart.conf")]).unwrap();
    until_true("the session with leaf2", || established_count(fixture, LEAF2).is_some());
    fixture.await_type5(&format!("{RED}/32"), 100);
    fixture.stream("red").finish();
    let recovered = killed.elapsed();
    let loss = stream.finish();
    let which = if redundant { "one of two leaves" } else { "the only leaf" };
    println!("gap: graceful restart of {which}: {loss}");
    println!("graceful restart of a leaf: recovered after {recovered:.1?}");
    assert!(recovered < scaled(Duration::from_secs(10)), "{recovered:?}");
    assert_eq!(fixture.router().established(&[Some("red"), Some("blue")]), hosts, "host sessions flapped");
}

/// Kills bgpd and returns the command that starts it again; its configuration is saved in /run/restart.conf.
fn kill_bgpd(leaf: &Node) -> String {
    let script = "vtysh -c 'show running-config no-header' >/run/restart.conf; pid=$(cat /run/frr/bgpd.pid); \
                  tr '\\0' ' ' </proc/$pid/cmdline; kill -9 $pid";
    leaf.check(&["sh", "-c", script]).unwrap().trim().to_owned()
}

const SPINE: &str = "100.64.0.254";

/// The spine accepts EVPN sessions from the VTEPs of the nodes alone, and the leaf has IPv4 only for them.
fn configure_loopbacks(fixture: &Fixture) {
    let profile = [
        "configure terminal".to_owned(),
        "bfd".to_owned(),
        "profile nodes".to_owned(),
        format!("receive-interval {0}\ntransmit-interval {0}", bfd_interval()),
    ];
    let words = profile.iter().flat_map(|lines| lines.lines()).flat_map(|line| ["-c", line]);
    fixture.node("spine").check(&std::iter::once("vtysh").chain(words).collect::<Vec<_>>()).unwrap();
    let lines = [
        "neighbor nodes peer-group",
        "neighbor nodes remote-as 64514",
        "neighbor nodes password of-the-spine",
        "neighbor nodes ebgp-multihop 4",
        "neighbor nodes update-source lo",
        "neighbor nodes bfd",
        "neighbor nodes bfd profile nodes",
        "bgp listen range 100.65.0.0/24 peer-group nodes",
        "address-family l2vpn evpn",
        "neighbor nodes activate",
        "neighbor nodes attribute-unchanged next-hop",
    ];
    configure(fixture.node("spine"), 64612, &lines);
    configure(fixture.node("leafkind"), 64512, &["address-family l2vpn evpn", "no neighbor nodes activate"]);
}

#[test]
fn evpn_between_loopbacks_carries_the_traffic() {
    let bfd = bfd_settings();
    let spine = format!(
        "asn: 64512\n    - address: {SPINE}\n      asn: 64612\n      ebgpMultiHop: {{ttl: 4}}\n      connectTimeSeconds: 1\n      \
         passwordSecret: {{name: fabric-bgp, key: spine}}\n      {bfd}"
    );
    let setup = Setup::example().replacing("underlay.yaml", "asn: 64512", &spine);
    let Some(mut fixture) = Fixture::deploy("loopbacks", &[0], &setup) else { return };
    put_secret(&fixture, "spine", "of-the-spine");
    configure_loopbacks(&fixture);
    fixture.router().start();
    fixture.start_hosts();
    fixture.await_services();
    for colour in ["red", "blue"] {
        let stream = fixture.stream(colour);
        stream.await_replies(100);
        stream.finish().assert_lossless(&format!("{colour} by EVPN between loopbacks"));
    }
    until_true("BFD with the spine", || fixture.routers[0].bfd_up() == 1);
    let check = fixture.router().perouter(&["check", "--all"]);
    assert!(check.success() && check.stdout.contains("family-not-negotiated"), "{}", check.stdout);
    source_is_edited(&mut fixture);
}

/// From the NIC, which the spine does not accept, and back: no other session is reset.
fn source_is_edited(fixture: &mut Fixture) {
    let others = |fixture: &mut Fixture| {
        let sessions = fixture.router().sessions().into_iter().filter(|session| session.peer != SPINE);
        sessions.map(|session| (session.vrf.clone(), session.peer.clone(), session.established)).collect::<Vec<_>>()
    };
    let before = others(fixture);
    fixture.edit("underlay.yaml", "ebgpMultiHop: {ttl: 4}", "ebgpMultiHop: {ttl: 4}\n      updateSource: NIC");
    until_true("a session from the NIC, which the spine rejects", || established_count(fixture, SPINE).is_none());
    until_true("the finding", || {
        let check = fixture.router().perouter(&["check"]);
        check.code == Some(1) && check.stdout.contains("no-evpn-session")
    });
    fixture.edit("underlay.yaml", "updateSource: NIC", "updateSource: VTEP");
    until_true("a session from the VTEP", || established_count(fixture, SPINE).is_some());
    fixture.await_services();
    let stream = fixture.stream("red");
    stream.await_replies(100);
    stream.finish().assert_lossless("red by EVPN between loopbacks again");
    assert_eq!(others(fixture), before, "an edit of one updateSource affected another session");
}
