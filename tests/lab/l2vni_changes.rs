//! Segments that are added, edited and removed: what the IP-VRF and the host keep, and what is lost meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use perouter::status::model::ObjectState;
use perouter_lab::node::Node;

use super::fixture::{Fixture, NODES, RED, SETTLE, Setup, echo, scaled, until, until_true};
use super::kernel_state::links;
use super::l2vni::{l2vni, pod, routed, with_l2vni};
use super::pod::Pod;
use super::router::Router;
use super::traffic::{LossStats, Stream};

const MILLISECOND: Duration = Duration::from_millis(1);
/// Outage between Pods while the import route targets change: 5 ms were measured on a machine with other work.
const IMPORTED: Duration = Duration::from_millis(100);

/// How often each session of a router was established, and that of red.
type Established = (BTreeMap<(String, String), u64>, u64);

/// Those of each router. The host has no speaker for IPv6 in red.
fn established(fixture: &Fixture) -> Vec<Established> {
    let of = |router: &Router| {
        let red = router.await_session("red", &format!("192.169.10.{}", router.index + 2)).established;
        (router.established(&[None, Some("blue")]), red)
    };
    fixture.routers.iter().map(of).collect()
}

/// Runs a change under a probe of the service of red, and prints what it loses.
fn lossless(fixture: &mut Fixture, what: &str, change: impl FnOnce(&mut Fixture)) {
    let stream = Stream::probe(fixture.node("hostA_red"), echo(RED), MILLISECOND);
    stream.await_replies(200);
    change(fixture);
    // bgpd withdraws within a second what it withdraws.
    std::thread::sleep(Duration::from_secs(1));
    stream.await_replies(200);
    stream.finish().assert_lossless(what);
}

/// The same under a probe between two Pods of the segment, too.
fn lossless_inside(fixture: &mut Fixture, pod: &Pod, what: &str, change: impl FnOnce(&mut Fixture)) {
    let inside = inside(fixture, pod, what, change);
    inside.assert_lossless(&format!("{what}: between Pods of the segment"));
}

/// The same, and what is lost between the Pods.
fn inside(fixture: &mut Fixture, pod: &Pod, what: &str, change: impl FnOnce(&mut Fixture)) -> LossStats {
    let inside = pod.probe("10.110.0.12:7".parse().unwrap(), MILLISECOND);
    inside.await_replies(200);
    lossless(fixture, what, change);
    inside.await_replies(200);
    inside.finish()
}

/// The change to this segment, and to these VNIs.
fn with(vnis: &'static [u32], text: String) -> impl FnOnce(&mut Fixture) {
    move |fixture| {
        fixture.write("layer2.yaml", &text);
        std::thread::sleep(Duration::from_millis(300));
        fixture.routers.iter().for_each(|router| router.await_ready(vnis));
    }
}

/// Leaves with FRR 8 drop the router MAC of a node with its last IPv6 route, whatever IPv4 routes it has: the host session has one.
fn with_ipv6_session() -> Setup {
    let local = "ipv4: 192.169.10.0/24";
    Setup::example().replacing("red.yaml", local, &format!("{local}\n    ipv6: 2001:db8:10::/64"))
}

#[test]
fn changes_of_a_segment_lose_no_packet_of_its_vrf() {
    let Some(mut fixture) = Fixture::start_with("l2vni-changes", &[0, 1], &with_ipv6_session()) else { return };
    for router in &fixture.routers {
        router.await_ready(&[100, 200]);
    }
    let sessions = established(&fixture);
    let before = links(fixture.node(NODES[0]));
    let running: Vec<_> = fixture.routers.iter().map(Router::running).collect();
    let routed = routed("red", 110);
    let three = &[100, 110, 200];
    lossless(&mut fixture, "a segment is added", with(three, l2vni("layer2", 110, &routed)));
    let (a1, a2) = (pod(fixture.node(NODES[0]), "a1", 110, 11), pod(fixture.node(NODES[1]), "a2", 110, 12));
    a1.await_ping("10.110.0.12");
    let _echo = a2.echo(7);
    lossless_inside(&mut fixture, &a1, "a restart of perouter", |fixture| {
        for router in &mut fixture.routers {
            router.terminate();
            router.remove_status();
            router.start();
            router.await_ready(three);
        }
    });
    // In place.
    let targets = "  routeTargets: {import: ['64514:110', '65000:1'], export: ['64514:110', '65000:1']}\n";
    let gateways = routed.replace(", 2001:db8:110::1/64", "");
    for (what, spec) in [("other route targets", format!("{routed}{targets}")), ("no route targets", routed.clone())] {
        // bgpd removes and installs all routes of a VNI at each of its import route targets.
        let losses = inside(&mut fixture, &a1, what, with(three, l2vni("layer2", 110, &spec)));
        println!("{what}: between Pods of the segment: {losses}");
        assert!(losses.longest_outage <= scaled(IMPORTED), "{what}: {losses}");
    }
    for (what, spec) in [
        ("a gateway less", gateways),
        ("a gateway more", routed.clone()),
        ("another MTU", format!("{routed}  mtu: 1400\n")),
    ] {
        lossless_inside(&mut fixture, &a1, what, with(three, l2vni("layer2", 110, &spec)));
    }
    a1.await_ping("2001:db8:110::1");
    // Rebuilt.
    lossless(
        &mut fixture,
        "another UDP port",
        with(three, l2vni("layer2", 110, &format!("{routed}  vxlanport: 4790\n"))),
    );
    lossless(&mut fixture, "without routing domain", with(three, l2vni("layer2", 110, "")));
    lossless(&mut fixture, "with routing domain again", with(three, l2vni("layer2", 110, &routed)));
    a1.await_ping("10.110.0.1");
    a1.await_ping("10.110.0.12");

    lossless(&mut fixture, "the segment is removed", |fixture| {
        fixture.remove("layer2.yaml");
        // The bridges of the hosts stay for the Pods.
        let is_left = |link: &String| link.ends_with("-110") && link != "br-hs-110";
        until_true("no other link of the segment", || {
            NODES.iter().all(|name| !links(fixture.node(name)).values().flatten().any(is_left))
        });
        fixture.routers.iter().for_each(|router| router.await_ready(&[100, 200]));
    });
    let mut after = links(fixture.node(NODES[0]));
    let host = after.get_mut("host").unwrap();
    assert!(host.remove("a1") && host.remove("br-hs-110"), "{after:?}");
    assert_eq!(after, before);
    assert_eq!(fixture.routers.iter().map(Router::running).collect::<Vec<_>>(), running);
    assert_eq!(established(&fixture), sessions, "sessions were reset");
}

fn master(node: &Node, link: &str) -> Option<String> {
    let output = node.run(&["ip", "-j", "link", "show", "dev", link]).unwrap();
    let links: Vec<serde_json::Value> = serde_json::from_str(&output.stdout).unwrap_or_default();
    Some(links.first()?["master"].as_str()?.to_owned())
}

#[test]
fn a_bridge_of_the_host_is_waited_for_and_only_gets_and_loses_a_port() {
    let external =
        l2vni("layer2", 110, &routed("red", 110)).replace("{lifecycle: Managed}", "{lifecycle: External, name: pods}");
    let setup = with_l2vni(Setup::example(), "layer2.yaml", external);
    let Some(mut fixture) = Fixture::deploy("l2vni-external", &[0], &setup) else { return };
    let node = fixture.node(NODES[0]).clone();
    fixture.router().start();
    let waiting = fixture.router().await_l2vni("layer2", ObjectState::Failed);
    assert!(
        waiting.message.contains("the host has no bridge pods: create it (ip link add pods type bridge)"),
        "{waiting:?}"
    );
    node.check(&["ip", "link", "add", "pods", "type", "bridge", "ageing_time", "12300", "priority", "77"]).unwrap();
    let start = Instant::now();
    node.check(&["ip", "link", "set", "pods", "up"]).unwrap();
    until("host-110 in pods", SETTLE, || (master(&node, "host-110").as_deref() == Some("pods")).then_some(()));
    println!("the bridge has its port after {:?}", start.elapsed());
    fixture.router().await_l2vni("layer2", ObjectState::Ready);
    let settings = || {
        let text = node.check(&["ip", "-j", "-d", "link", "show", "pods"]).unwrap();
        let links: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let data = &links[0]["linkinfo"]["info_data"];
        (data["priority"].clone(), data["ageing_time"].clone(), links[0]["group"].clone())
    };
    let before = settings();
    let addresses = ["10.110.0.11/24"];
    let a1 = super::pod::Pod::attach(&node, "a1", "pods", &addresses, &["10.110.0.1"]);
    a1.await_ping("10.110.0.1");
    // Somebody deletes the bridge, and makes it again.
    node.check(&["ip", "link", "delete", "pods"]).unwrap();
    fixture.router().await_l2vni("layer2", ObjectState::Failed);
    node.check(&["ip", "link", "add", "pods", "type", "bridge", "ageing_time", "12300", "priority", "77"]).unwrap();
    node.check(&["ip", "link", "set", "pods", "up"]).unwrap();
    node.check(&["ip", "link", "set", "a1", "master", "pods"]).unwrap();
    until("host-110 in pods", SETTLE, || (master(&node, "host-110").as_deref() == Some("pods")).then_some(()));
    fixture.router().await_l2vni("layer2", ObjectState::Ready);
    a1.await_ping("10.110.0.1");
    // A managed one instead, and back.
    fixture.write("layer2.yaml", &l2vni("layer2", 110, &routed("red", 110)));
    until_true("host-110 in its own bridge", || master(&node, "host-110").as_deref() == Some("br-hs-110"));
    assert_eq!(settings(), before);
    fixture.edit("layer2.yaml", "{lifecycle: Managed}", "{lifecycle: External, name: pods}");
    until_true("host-110 in pods", || master(&node, "host-110").as_deref() == Some("pods"));
    until_true("no bridge of the router", || !node.run(&["ip", "link", "show", "br-hs-110"]).unwrap().success());
    a1.await_ping("10.110.0.1");
    fixture.remove("layer2.yaml");
    until_true("no port", || !node.run(&["ip", "link", "show", "host-110"]).unwrap().success());
    assert_eq!(settings(), before);
    assert_eq!(master(&node, "a1").as_deref(), Some("pods"));
}

#[test]
fn a_segment_goes_and_comes_with_its_l3vni() {
    let setup = with_l2vni(Setup::example(), "layer2.yaml", l2vni("layer2", 110, &routed("red", 110)));
    let Some(mut fixture) = Fixture::start_with("l2vni-domain", &[0], &setup) else { return };
    fixture.router().await_ready(&[100, 110, 200]);
    let node = fixture.node(NODES[0]).clone();
    let a1 = pod(&node, "a1", 110, 11);
    a1.await_ping("10.110.0.1");
    let established = fixture.router().established(&[None, Some("blue")]);
    let red = std::fs::read_to_string(fixture.path("red.yaml")).unwrap();
    fixture.remove("red.yaml");
    let rejected = fixture.router().await_l2vni("layer2", ObjectState::Rejected);
    assert_eq!(rejected.reason, "DependencyFailed");
    assert!(
        rejected
            .message
            .contains("L3VNI openperouter-system/red is not accepted for this node: create L3VNI red in namespace"),
        "{rejected:?}"
    );
    let is_left = |link: &String| link.ends_with("110") && link != "br-hs-110";
    until_true("no other link of the segment", || !links(&node).values().flatten().any(is_left));
    fixture.router().await_ready(&[200]);
    fixture.write("red.yaml", &red);
    fixture.router().await_ready(&[100, 110, 200]);
    // The bridge of the host has stayed for the Pod.
    a1.await_ping("10.110.0.1");
    // The IP-VRF is rebuilt: the Pod stays attached.
    fixture.edit("red.yaml", "  asn: 64514\n", "  asn: 64513\n");
    std::thread::sleep(Duration::from_secs(1));
    fixture.router().await_ready(&[100, 110, 200]);
    a1.await_ping("10.110.0.1");
    assert_eq!(master(&node, "a1").as_deref(), Some("br-hs-110"));
    assert_eq!(fixture.router().established(&[None, Some("blue")]), established);
}
