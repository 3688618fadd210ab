//! The fabric of the demo, without any router.

use super::{can_run, crate_file, deploy, unused_name};
use perouter_lab::evpn::type5_routes;
use perouter_lab::{Node, ScopedLab, read_topology, wait};
use std::time::Duration;

fn fabric() -> ScopedLab {
    let mut topology = read_topology(&crate_file("../metallb.clab.yml")).unwrap();
    topology.lab = unused_name();
    deploy(&topology)
}

fn pings(node: &Node, address: &str) -> bool {
    node.run(&["ping", "-c1", "-W1", address]).unwrap().success()
}

#[test]
fn each_color_reaches_its_own_hosts_and_no_others() {
    if !can_run() {
        return;
    }
    let lab = fabric();
    let node = |name: &str| lab.node(name).unwrap();
    let pairs = [
        ("hostA_red", "192.169.20.2", "2001:db8:120::2"),
        ("hostB_red", "192.168.20.2", "2001:db8:20::2"),
        ("hostA_blue", "192.169.21.2", "2001:db8:121::2"),
        ("hostB_blue", "192.168.21.2", "2001:db8:21::2"),
    ];
    for (from, ipv4, ipv6) in pairs {
        for address in [ipv4, ipv6] {
            let reached = || pings(node(from), address).then_some(());
            let what = format!("{address} from {from}");
            wait::until(&what, Duration::from_secs(20), Duration::from_millis(100), reached).unwrap();
        }
    }
    let strangers = [
        ("hostA_red", "192.168.21.2"),
        ("hostA_red", "192.169.21.2"),
        ("hostB_blue", "192.168.20.2"),
        ("hostB_blue", "192.169.20.2"),
        ("hostA_red", "2001:db8:121::2"),
        ("hostA_blue", "2001:db8:20::2"),
    ];
    for (from, address) in strangers {
        assert!(!pings(node(from), address), "{from} reaches {address}");
    }
    // TCP, with segments of the largest size that the links allow.
    let server = "python3 -c 'import sys;sys.stdout.write(\"x\"*300000)' >/tmp/labtest-page && cd /tmp && \
                  exec python3 -m http.server 8080";
    let mut served =
        node("hostB_red").spawn(&["sh", "-c", server], &node("hostB_red").log_folder().join("web.log")).unwrap();
    let fetch = || {
        let words = ["curl", "-s", "--max-time", "5", "-o", "/dev/null", "-w", "%{size_download}"];
        let output = node("hostA_red").run(&[&words[..], &["http://192.169.20.2:8080/labtest-page"]].concat()).unwrap();
        (output.stdout == "300000").then_some(())
    };
    wait::until("the page", Duration::from_secs(10), Duration::from_millis(200), fetch).unwrap();
    served.kill().unwrap();
}

#[test]
fn the_leaves_advertise_type_5_routes_to_each_other() {
    if !can_run() {
        return;
    }
    let lab = fabric();
    let leaf = lab.node("leafA").unwrap();
    let routes = || {
        let routes = type5_routes(leaf).unwrap();
        let remote: Vec<_> = routes.into_iter().filter(|route| !route.as_path.is_empty()).collect();
        (remote.len() == 4).then_some(remote)
    };
    let routes = wait::until("routes of leafB", Duration::from_secs(20), Duration::from_millis(100), routes).unwrap();
    let lines: Vec<_> = routes
        .into_iter()
        .map(|r| {
            format!("{} {} {} {} {} {}", r.prefix, r.vni, r.route_targets.join(","), r.router_mac, r.vtep, r.as_path)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "192.169.20.0/24 100 64521:100 02:40:00:02:00:64 100.64.0.2 64612 64521",
            "192.169.21.0/24 200 64521:200 02:40:00:02:00:c8 100.64.0.2 64612 64521",
            "2001:db8:120::/64 100 64521:100 02:40:00:02:00:64 100.64.0.2 64612 64521",
            "2001:db8:121::/64 200 64521:200 02:40:00:02:00:c8 100.64.0.2 64612 64521",
        ]
    );
}
