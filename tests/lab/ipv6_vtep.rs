//! VTEPs with IPv6 addresses, which need FRR 10.6 or later on routers and leaves.

use perouter::frr::show::session::SessionPhase;
use perouter::kind::ipam;
use perouter::runtime::Daemon;
use perouter::status::model::ObjectState;
use perouter_lab::evpn::type5_routes;
use perouter_lab::node::Node;

use super::fabric::{CURL_TIMED_OUT, fetch, type5_of};
use super::fixture::{BLUE, Fixture, RED, SETTLE, Setup, lab_release, until, until_true};
use super::kernel_state::{host_next_hops, leaf_next_hops};
use super::l3vni_edits::BlueMonitor;
use super::router::Router;

const RED6: &str = "2001:db8:172::10";
pub const VTEPS: [&str; 2] = ["2001:db8:65::1", "2001:db8:65::2"];

/// Whether the FRR of the lab has IPv6 VTEPs; else the reason is printed. Its matrix has another release, with which they run.
fn has_ipv6_vteps() -> bool {
    let release = lab_release();
    if let Err(why) = release.ipv6_vtep {
        println!("left out: {why}; with PEROUTER_LAB_FRR=10.7 it runs");
    }
    release.ipv6_vtep.is_ok()
}

pub fn start(name: &str, nodes: &[usize], setup: &Setup) -> Option<Fixture> {
    if !has_ipv6_vteps() {
        return None;
    }
    let mut fixture = Fixture::deploy(name, nodes, setup)?;
    fixture.routers.iter_mut().for_each(Router::start);
    fixture.start_hosts();
    Some(fixture)
}

/// The example over an underlay without IPv4, with an IPv6 service besides.
pub fn ipv6_only() -> Setup {
    let subnet = "ipv4: 192.169.10.0/24";
    let mut setup = Setup::example()
        .replacing("underlay.yaml", "100.65.0.0/24", "2001:db8:65::/64")
        .replacing("underlay.yaml", "192.168.11.2", "2001:db8:11::2")
        .replacing("red.yaml", subnet, &format!("{subnet}\n    ipv6: 2001:db8:10::/64"));
    let mut session = setup.announcer.sessions[&"192.169.10.1".parse().unwrap()].clone();
    session.name = "peerred6".into();
    session.announced = vec![format!("{RED6}/128").parse::<ipnet::IpNet>().unwrap().into()];
    setup.announcer.sessions.insert("2001:db8:10::1".parse().unwrap(), session);
    setup.announcer.services.get_mut("red").unwrap().addresses.push(RED6.parse().unwrap());
    setup.topology = "ipv6.clab.yml";
    setup
}

/// The example with VTEPs of both families: red over IPv4, blue over IPv6.
fn both_families() -> Setup {
    let neighbor = "    - address: 192.168.11.2\n      asn: 64512\n";
    let mut setup = Setup::example()
        .with_leaf_b()
        .with(
            "underlay.yaml",
            &format!("{}  vtepcidr6: 2001:db8:65::/64\n", neighbor.replace("192.168.11.2", "2001:db8:11::2")),
        )
        .with("blue.yaml", "  underlayAddressFamily: IPv6\n");
    setup.topology = "dualstack.clab.yml";
    setup
}

#[track_caller]
fn await_page(fixture: &Fixture, host: &str, address: &str) {
    let page = until(&format!("http://{address}/ at {host}"), SETTLE, || fetch(fixture.node(host), address, 3).ok());
    assert!(page.contains(&format!(" at {address}\n")), "{page}");
}

/// The MTU of a link of a node's host.
fn mtu(node: &Node, link: &str) -> u32 {
    node.check(&["cat", &format!("/sys/class/net/{link}/mtu")]).unwrap().trim().parse().unwrap()
}

/// The MTU of the NIC in the router.
fn nic_mtu(node: &Node) -> u32 {
    let text = node.check(&["nsenter", "--net=/run/netns/perouter", "ip", "-j", "link", "show", "toswitch"]).unwrap();
    let links: serde_json::Value = serde_json::from_str(&text).unwrap();
    u32::try_from(links[0]["mtu"].as_u64().unwrap()).unwrap()
}

/// Whether a packet of this size in bytes, which may not be fragmented, is replied to.
fn replies_to(from: &Node, address: &str, size: u32) -> bool {
    let payload = (size - 28).to_string();
    from.run(&["ping", "-n", "-M", "do", "-c", "3", "-i", "0.2", "-w", "2", "-s", &payload, address]).unwrap().success()
}

#[test]
fn services_are_reachable_over_an_ipv6_only_underlay() {
    let Some(mut fixture) = start("ipv6-vtep", &[0, 1], &ipv6_only()) else { return };
    let leaf = fixture.node("leafA").clone();
    let wanted = VTEPS.map(str::to_owned);
    for (prefix, vni) in [(format!("{RED}/32"), 100), (format!("{RED6}/128"), 100), (format!("{BLUE}/32"), 200)] {
        fixture.await_type5_from(&prefix, vni, &wanted);
        for route in type5_of(&leaf, &prefix) {
            assert_eq!(route.router_mac, ipam::router_mac(route.vtep.parse().unwrap()).to_string(), "{route:?}");
        }
        let vrf = if vni == 100 { "red" } else { "blue" };
        until_true(&format!("next hops of {prefix} in the kernel of leafA"), || {
            leaf_next_hops(&leaf, vrf, &prefix).iter().eq(&wanted)
        });
    }
    for (host, address) in [("hostA_red", RED), ("hostA_red", RED6), ("hostA_blue", BLUE)] {
        await_page(&fixture, host, address);
    }
    assert_eq!(fetch(fixture.node("hostA_blue"), RED, 2), Err(CURL_TIMED_OUT), "blue reaches red");
    for host in &fixture.hosts {
        until_true("the fabric's route at the host", || {
            host_next_hops(host.node(), "192.168.20.0/24").iter().eq(["192.169.10.1"])
        });
    }
    for router in &fixture.routers {
        router.await_ready(&[100, 200]);
        let status = router.status().unwrap();
        let vtep = VTEPS[usize::try_from(router.index).unwrap()];
        assert_eq!(status.vteps().map(|vtep| vtep.to_string()).collect::<Vec<_>>(), [vtep]);
        let plan = router.plan();
        assert_eq!((plan.code, plan.stdout.as_str()), (Some(0), "0 kernel operations, 0 FRR lines\n"), "{plan:?}");
    }

    // The largest packet, in both directions.
    let node = fixture.routers[0].node.clone();
    let largest = nic_mtu(&node) - 70;
    assert_eq!(mtu(&node, "host-100"), largest);
    let hosta = fixture.node("hostA_red").clone();
    hosta.check(&["ip", "route", "change", "default", "via", "192.168.20.1", "mtu", &largest.to_string()]).unwrap();
    until_true("a reply to the largest packet", || replies_to(&hosta, "192.169.10.2", largest));

    // zebra is restarted beside a bgpd that stays.
    let stream = fixture.stream("blue");
    let pids = fixture.routers[0].daemon_pids();
    fixture.routers[0].kill_daemon(Daemon::Zebra);
    until_true("another zebra", || {
        let now = fixture.routers[0].daemon_pids();
        now.get(&Daemon::Zebra).is_some_and(|pid| *pid != pids[&Daemon::Zebra])
    });
    fixture.routers[0].await_ready(&[100, 200]);
    assert_eq!(fixture.routers[0].daemon_pids()[&Daemon::Bgpd], pids[&Daemon::Bgpd]);
    println!("gap: zebra restarted with IPv6 VTEPs: {}", stream.finish());
    for (host, address) in [("hostA_red", RED), ("hostA_red", RED6), ("hostA_blue", BLUE)] {
        await_page(&fixture, host, address);
    }
    fixture.routers.iter_mut().for_each(Router::terminate);
}

#[test]
fn vnis_over_both_families_are_on_one_node_beside_an_ipv4_only_leaf() {
    let Some(mut fixture) = start("both-vteps", &[0], &both_families()) else { return };
    let [leaf_a, leaf_b] = ["leafA", "leafB"].map(|name| fixture.node(name).clone());
    fixture.await_type5_from(&format!("{RED}/32"), 100, &["100.65.0.1".to_owned()]);
    fixture.await_type5_from(&format!("{BLUE}/32"), 200, &[VTEPS[0].to_owned()]);
    for (host, address) in [("hostA_red", RED), ("hostB_red", RED), ("hostA_blue", BLUE)] {
        await_page(&fixture, host, address);
    }
    // The leaf without IPv6 has the routes of both; those of the IPv6 VTEP are not valid, as it has no route to it.
    let seen = || type5_routes(&leaf_b).unwrap().into_iter().filter(|route| route.vtep == VTEPS[0]).count();
    until_true("routes of the IPv6 VTEP at leafB", || seen() > 0);
    assert!(leaf_next_hops(&leaf_b, "red", &format!("{RED}/32")).iter().eq(["100.65.0.1"]));
    let node = fixture.router().node.clone();
    let nic = nic_mtu(&node);
    assert_eq!([mtu(&node, "host-100"), mtu(&node, "host-200")], [nic - 50, nic - 70]);
    let router = fixture.router();
    router.await_ready(&[100, 200]);
    assert!(router.sessions().iter().all(|session| session.phase == SessionPhase::Established));
    let status = router.perouter(&["status"]).stdout;
    assert!(status.contains(&format!("100.65.0.1, {}", VTEPS[0])), "{status}");
    let plan = router.plan();
    assert_eq!((plan.code, plan.stdout.as_str()), (Some(0), "0 kernel operations, 0 FRR lines\n"), "{plan:?}");

    edit_of_the_family(&mut fixture, &leaf_a);
    removal_of_the_pool(&mut fixture);
}

/// An edit of one VNI, and back, affects no other.
fn edit_of_the_family(fixture: &mut Fixture, leaf_a: &Node) {
    let blue = BlueMonitor::start(fixture);
    fixture.edit("red.yaml", "  hostasn: 64515\n", "  hostasn: 64515\n  underlayAddressFamily: IPv6\n");
    fixture.await_type5_from(&format!("{RED}/32"), 100, &[VTEPS[0].to_owned()]);
    fixture.router().await_ready(&[100, 200]);
    // leafA has red over IPv4: it imports the routes, and nobody forwards.
    until_true("the families in `perouter trace`", || {
        let trace = fixture.router().perouter(&["trace", "192.168.20.2", "--vrf", "red"]).stdout;
        trace.contains(
            "VTEP 100.64.0.1 and that of this node for VNI 100, 2001:db8:65::1, have different address families",
        )
    });
    assert_eq!(fetch(fixture.node("hostA_red"), RED, 2), Err(CURL_TIMED_OUT));
    fixture.edit("red.yaml", "  underlayAddressFamily: IPv6\n", "");
    fixture.await_type5_from(&format!("{RED}/32"), 100, &["100.65.0.1".to_owned()]);
    until_true("the IPv4 VTEP in the kernel of leafA", || {
        leaf_next_hops(leaf_a, "red", &format!("{RED}/32")).iter().eq(["100.65.0.1"])
    });
    fixture.router().await_ready(&[100, 200]);
    await_page(fixture, "hostA_red", RED);
    await_page(fixture, "hostB_red", RED);
    blue.assert_undisturbed(fixture);
}

/// Without the pool of its family an L3VNI is rejected, and the other one stays.
fn removal_of_the_pool(fixture: &mut Fixture) {
    let stream = fixture.stream("red");
    let pool = "  vtepcidr6: 2001:db8:65::/64\n";
    fixture.edit("underlay.yaml", pool, "");
    let blue = fixture.router().await_l3vni("blue", ObjectState::Rejected);
    let remedy = "Underlay openperouter-system/underlay has no pool of IPv6 VTEPs: set its spec.vtepcidr6";
    assert!(blue.message.contains(remedy), "{blue:?}");
    fixture.router().await_ready(&[100]);
    let asn = "  asn: 64514\n";
    fixture.edit("underlay.yaml", asn, &format!("{asn}{pool}"));
    fixture.router().await_ready(&[100, 200]);
    await_page(fixture, "hostA_blue", BLUE);
    stream.finish().assert_lossless("red");
}
