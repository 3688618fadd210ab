//! Options of an L3VNI and of its host session.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use perouter::frr::show::session::SessionPhase;

use super::fabric::{fetch, md5_failures, type5_of};
use super::fixture::{BLUE, Fixture, RED, SETTLE, Setup, until, until_true};
use super::kernel_state::host_next_hops;
use super::router::BFD_PEERS;

const RED6: &str = "2001:db8:172::10";

#[test]
fn a_dual_stack_vrf_carries_an_ipv6_service() {
    let v4 = "ipv4: 192.169.10.0/24";
    let mut setup =
        Setup::example().with_leaf_b().replacing("red.yaml", v4, &format!("{v4}\n    ipv6: 2001:db8:10::/64"));
    let mut session = setup.announcer.sessions[&"192.169.10.1".parse().unwrap()].clone();
    session.name = "peerred6".into();
    session.announced = vec![format!("{RED6}/128").parse::<ipnet::IpNet>().unwrap().into()];
    setup.announcer.sessions.insert("2001:db8:10::1".parse().unwrap(), session);
    setup.announcer.services.get_mut("red").unwrap().addresses.push(RED6.parse().unwrap());
    let Some(fixture) = Fixture::start_with("dual-stack", &[0], &setup) else { return };
    fixture.await_type5(&format!("{RED6}/128"), 100);
    for (host, address) in [("hostA_red", RED6), ("hostB_red", RED6), ("hostA_red", RED)] {
        let page =
            until(&format!("http://{address}/ at {host}"), SETTLE, || fetch(fixture.node(host), address, 3).ok());
        assert!(page.starts_with(&format!("service red at {address}\n")), "{page}");
    }
    assert!(fetch(fixture.node("hostA_blue"), RED6, 2).is_err(), "blue reaches red over IPv6");
}

#[test]
fn a_session_with_a_password_is_established_only_with_the_right_one() {
    let secret =
        "  hostSession:\n    connectTimeSeconds: 1\n    passwordSecret:\n      name: host-bgp\n      key: red\n";
    let setup = Setup::example().with("red.yaml", secret);
    let Some(mut fixture) = Fixture::deploy("password", &[0], &setup) else { return };
    let file = fixture.path("secrets/host-bgp/red");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "the right one\n".replace(' ', "-")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fixture.router().start();
    fixture.start_hosts();
    let host = fixture.hosts[0].clone();
    let set = |password: &str| {
        let line = format!("neighbor 192.169.10.1 password {password}");
        host.vtysh(&["configure terminal", "router bgp 64515", &line]).unwrap();
    };
    set("the-wrong-one");
    let before = md5_failures(host.node());
    until_true("segments with the wrong password", || md5_failures(host.node()) > before + 2);
    fixture.await_type5(&format!("{BLUE}/32"), 200);
    let of_red = fixture.router().sessions().into_iter().filter(|s| s.peer == "192.169.10.2").collect::<Vec<_>>();
    assert!(of_red.iter().all(|session| session.phase != SessionPhase::Established), "{of_red:?}");
    set("the-right-one");
    fixture.router().await_session("red", "192.169.10.2");
    fixture.await_type5(&format!("{RED}/32"), 100);
    let router = fixture.router();
    let shown = [router.perouter(&["status", "-o", "json"]).stdout, fs::read_to_string(router.log()).unwrap()];
    assert!(shown.iter().all(|text| !text.contains("the-right-one")), "{shown:#?}");
}

#[test]
fn bfd_comes_up_on_the_host_session() {
    let setup = Setup::example().with("red.yaml", "  hostSession:\n    bfd: {}\n");
    let Some(mut fixture) = Fixture::start_with("bfd", &[0], &setup) else { return };
    let host = &fixture.hosts[0];
    host.vtysh(&["configure terminal", "router bgp 64515", "neighbor 192.169.10.1 bfd"]).unwrap();
    until("BFD with 192.169.10.1", SETTLE, || {
        let peers: serde_json::Value = serde_json::from_str(&host.vtysh(&[BFD_PEERS]).ok()?).ok()?;
        let of_red = |peer: &&serde_json::Value| peer["peer"] == "192.169.10.1" && peer["status"] == "up";
        peers.as_array()?.iter().find(of_red).map(|_| ())
    });
    fixture.router().await_session("red", "192.169.10.2");
    fixture.await_type5(&format!("{RED}/32"), 100);
}

#[test]
fn route_targets_decide_what_is_exported_and_imported() {
    let targets = "  routeTargets:\n    import: [\"64520:100\"]\n    export: [\"64514:999\", \"64514:100\"]\n";
    let setup = Setup::example().with_leaf_b().with("red.yaml", targets);
    let Some(fixture) = Fixture::start_with("targets", &[0], &setup) else { return };
    let mut sent = type5_of(fixture.node("leafA"), &format!("{RED}/32"))[0].route_targets.clone();
    sent.sort();
    assert_eq!(sent, ["64514:100", "64514:999"]);
    let host = fixture.hosts[0].node();
    until_true("leafA's routes at the host", || !host_next_hops(host, "192.168.20.0/24").is_empty());
    until_true("leafB's routes of blue at the host", || !host_next_hops(host, "192.169.21.0/24").is_empty());
    // leafB's routes of blue and of red arrived on the same session.
    assert!(host_next_hops(host, "192.169.20.0/24").is_empty(), "a route with another target was imported");
}

#[test]
fn the_host_session_is_internal_without_hostasn() {
    let mut setup = Setup::example().with_leaf_b();
    for file in ["red.yaml", "blue.yaml"] {
        setup = setup.replacing(file, "hostasn: 64515", "# hostasn: as asn");
    }
    setup.announcer.asn = 64514;
    let Some(fixture) = Fixture::start_with("ibgp", &[0], &setup) else { return };
    let routes = type5_of(fixture.node("leafA"), &format!("{RED}/32"));
    assert!(routes[0].as_path.ends_with(" 64514") && !routes[0].as_path.contains("64514 64514"), "{routes:?}");
    for (host, address) in [("hostA_red", RED), ("hostB_blue", BLUE)] {
        until(&format!("http://{address}/ at {host}"), SETTLE, || fetch(fixture.node(host), address, 3).ok());
    }
}
