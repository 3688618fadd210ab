//! Hosts with BIRD or `GoBGP` as BGP speaker of red, while that of blue is FRR as configured by `MetalLB`.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use perouter::status::model::ObjectState;
use perouter::types::VrfMode;
use perouter_lab::speaker::{Peering, Program, Speaker, SpeakerConfig};

use super::fabric::{CURL_TIMED_OUT, fetch, type5_of};
use super::fixture::{Fixture, RED, SETTLE, Setup, bfd_interval, bfd_settings, scaled, until, until_true};
use super::kernel_state::{in_vrf, kernel_has_nftables};
use super::l3vni_edits::{BlueMonitor, red_service};

const HOST: &str = "192.169.10.2";
const ROUTER: &str = "192.169.10.1";
/// Exit code of curl if the connection is refused.
const CURL_REFUSED: i32 = 7;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The example with these lines in red's `hostSession`, and no speaker for red yet.
fn without_red_speaker(host_session: &str) -> Setup {
    let mut setup = Setup::example();
    setup.announcer.sessions.remove(&address(ROUTER)).unwrap();
    if host_session.is_empty() { setup } else { setup.with("red.yaml", &format!("  hostSession:\n{host_session}")) }
}

/// Router, fabric, and blue's speaker with its service; red's service runs but is not advertised.
fn deploy(name: &str, setup: &Setup) -> Option<Fixture> {
    let mut fixture = Fixture::deploy(name, &[0], setup)?;
    // Two speakers on one node listen on the same port of different addresses.
    fixture.hosts[0] = fixture.hosts[0].clone().listening_on(address("192.169.11.2"));
    fixture.router().start();
    fixture.start_hosts();
    fixture.await_type5(&format!("{}/32", super::fixture::BLUE), 200);
    Some(fixture)
}

fn peering() -> Peering {
    Peering::new(address(HOST), address(ROUTER), 64514)
}

/// A speaker for red, not started.
fn speaker(fixture: &Fixture, program: Program, peering: Peering) -> Speaker {
    let config = SpeakerConfig {
        asn: 64515,
        router_id: "10.0.0.77".parse().unwrap(),
        peerings: vec![peering],
        announced: [red_service().parse().unwrap()].into(),
    };
    Speaker::new(fixture.hosts[0].node(), "red", program, config)
}

/// Time until a condition is true.
fn time_until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    until_true(what, &mut condition);
    start.elapsed()
}

fn is_withdrawn(fixture: &Fixture) -> bool {
    type5_of(fixture.node("leafA"), &red_service()).is_empty()
}

#[test]
fn bird_with_graceful_restart_and_bfd() {
    let session = format!("    gracefulRestart: {{}}\n    {}\n", bfd_settings());
    let Some(mut fixture) = deploy("bird", &without_red_speaker(&session)) else { return };
    let blue = BlueMonitor::start(&mut fixture);
    let graceful =
        Peering { graceful_restart: true, bfd: Some((u32::try_from(bfd_interval()).unwrap(), 3)), ..peering() };
    let mut bird = speaker(&fixture, Program::Bird, graceful);
    bird.start().unwrap();
    fixture.await_type5(&red_service(), 100);
    let page = until("the page of red", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
    assert!(page.starts_with("service red at "), "{page}");
    assert_eq!(fetch(fixture.node("hostA_blue"), RED, 2), Err(CURL_TIMED_OUT), "blue reaches red");

    // Restart. The host has a static route back, so that only the router's part is measured.
    fixture.hosts[0].node().check(&["ip", "route", "add", "192.168.20.0/24", "via", ROUTER]).unwrap();
    let red = fixture.stream("red");
    let before = fixture.router().await_session("red", HOST).established;
    bird.kill().unwrap();
    until_true("the session going down", || !fixture.router().is_established("red", HOST));
    assert!(!is_withdrawn(&fixture), "the routes were withdrawn with a session that restarts gracefully");
    bird.start().unwrap();
    until_true("the session after the restart", || fixture.router().await_session("red", HOST).established > before);
    red.finish().assert_lossless("red, whose speaker restarts");

    // A silent failure. BFD detects it only once it has been up, which after the restart is later than the session.
    until_true("BFD after the restart", || fixture.router().bfd_up() == 1);
    // FRR 10 ignores a BFD failure within the first second of the session (frr#17344).
    std::thread::sleep(Duration::from_secs(1));
    bird.freeze().unwrap();
    let gap = time_until("red withdrawn", || is_withdrawn(&fixture));
    println!("gap: BFD at 3 x {} ms: {} ms", bfd_interval(), gap.as_millis());
    assert!(gap < scaled(Duration::from_secs(3)), "the hold time is 90 s, and BFD took {gap:?}");
    bird.thaw().unwrap();
    fixture.await_type5(&red_service(), 100);
    bird.stop().unwrap();

    // Without graceful restart.
    let mut bird = speaker(&fixture, Program::Bird, peering());
    bird.start().unwrap();
    fixture.await_type5(&red_service(), 100);
    bird.kill().unwrap();
    let gap = time_until("red withdrawn", || is_withdrawn(&fixture));
    println!("gap: killed without graceful restart: {} ms", gap.as_millis());
    assert!(gap < scaled(Duration::from_secs(2)), "{gap:?}");
    blue.assert_undisturbed(&mut fixture);
}

/// Time from the VNI being ready to its session being established.
fn time_to_session(fixture: &mut Fixture) -> Duration {
    let router = fixture.router();
    let ready = until("VNI 100 ready", SETTLE, || {
        router.vnis().values().any(|vni| vni.vrf == "red" && vni.is_ready()).then(Instant::now)
    });
    router.await_session("red", HOST);
    ready.elapsed()
}

#[test]
fn a_passive_gobgp_is_connected_to_immediately() {
    let mut setup = without_red_speaker("");
    let red = setup.objects.remove("red.yaml").unwrap();
    let Some(mut fixture) = deploy("listener", &setup) else { return };
    let blue = BlueMonitor::start_with_vnis(&mut fixture, &[200]);
    // It listens before its address exists.
    let node = fixture.hosts[0].node().clone();
    node.check(&["sysctl", "-qw", "net.ipv4.ip_nonlocal_bind=1"]).unwrap();
    let mut gobgp = speaker(&fixture, Program::Gobgp, Peering { passive: true, ..peering() });
    gobgp.start().unwrap();
    fixture.write("red.yaml", &red);
    let gap = time_to_session(&mut fixture);
    println!("gap: passive host, VNI ready to session established: {} ms", gap.as_millis());
    assert!(gap < scaled(Duration::from_secs(1)), "{gap:?}");
    fixture.await_type5(&red_service(), 100);

    // The daemon stops, and later listens again.
    gobgp.stop().unwrap();
    until_true("red withdrawn", || is_withdrawn(&fixture));
    gobgp.start().unwrap();
    let gap = time_until("the session", || fixture.router().is_established("red", HOST));
    println!("gap: listening again to session established: {} ms", gap.as_millis());
    assert!(gap < scaled(Duration::from_secs(2)), "{gap:?}");
    fixture.await_type5(&red_service(), 100);
    blue.assert_undisturbed(&mut fixture);
}

/// The kernel of the guest with VRF devices has no nftables.
fn without_nftables_only_the_l3vni_with_a_second_port_fails(setup: &Setup) {
    let Some(mut fixture) = Fixture::deploy("port180", &[0], setup) else { return };
    fixture.router().start();
    let red = fixture.router().await_l3vni("red", ObjectState::Failed);
    let words = "this kernel has no nftables, which a second BGP port needs: load nf_tables";
    assert!(red.message.contains(words) && red.message.contains("remove hostSession.listenPort"), "{red:?}");
    fixture.router().await_l3vni("blue", ObjectState::Ready);
    fixture.edit("red.yaml", "    listenPort: 180\n", "    passive: true\n");
    fixture.router().await_ready(&[100, 200]);
}

#[test]
fn gobgp_connects_to_another_port() {
    let setup = without_red_speaker("    listenPort: 180\n");
    if !kernel_has_nftables() {
        println!("this kernel has no nftables: only the error message is tested");
        return without_nftables_only_the_l3vni_with_a_second_port_fails(&setup);
    }
    let Some(mut fixture) = deploy("port180", &setup) else { return };
    let blue = BlueMonitor::start(&mut fixture);
    // Once the port is closed, a connection fails with the next keepalive.
    let active = Peering { port: 180, listens: None, hold: 9, ..peering() };
    let mut gobgp = speaker(&fixture, Program::Gobgp, active.clone());
    gobgp.start().unwrap();
    fixture.await_type5(&red_service(), 100);
    // GoBGP does not install routes in the kernel.
    let node = fixture.hosts[0].node().clone();
    node.check(&["ip", "route", "add", "192.168.20.0/24", "via", ROUTER]).unwrap();
    let page = until("the page of red", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
    assert!(page.starts_with("service red at "), "{page}");
    assert_eq!(fetch(fixture.node("hostA_blue"), RED, 2), Err(CURL_TIMED_OUT), "blue reaches red");
    let connections = node.check(&["ss", "-Htn", "state", "established", "dport", "=", ":180"]).unwrap();
    assert_eq!(connections.lines().count(), 1, "{connections}");

    // The port is open in this VRF only.
    let other = node.run(&["curl", "-s", "--max-time", "2", "telnet://192.169.11.1:180"]).unwrap();
    assert_eq!(other.code, Some(CURL_REFUSED), "blue accepts connections on red's port: {other:?}");

    // The tables are flushed by somebody else.
    let before = fixture.router().await_session("red", HOST).established;
    let router = fixture.router().node.clone();
    router.check(&in_vrf(&router, "red", &["nft", "flush", "ruleset"])).unwrap();
    let ruleset = || router.check(&in_vrf(&router, "red", &["nft", "list", "ruleset"])).unwrap();
    until_true("the table restored", || ruleset().contains("table inet perouter-100-180"));
    assert_eq!(fixture.router().await_session("red", HOST).established, before, "the session flapped");
    router.check(&in_vrf(&router, "red", &["nft", "flush", "chain", "inet", "perouter-100-180", "out"])).unwrap();
    until_true("the chain restored", || ruleset().contains("tcp sport set 180"));

    // Another port, then none.
    let await_ready = |fixture: &mut Fixture| fixture.router().await_ready(&[100, 200]);
    fixture.edit("red.yaml", "listenPort: 180", "listenPort: 1179");
    until_true("port 1179", || ruleset().contains("perouter-100-1179") && !ruleset().contains("perouter-100-180"));
    gobgp.stop().unwrap();
    let mut gobgp = speaker(&fixture, Program::Gobgp, Peering { port: 1179, ..active });
    gobgp.start().unwrap();
    until_true("red over port 1179", || fixture.router().is_established("red", HOST));
    fixture.await_type5(&red_service(), 100);
    fixture.edit("red.yaml", "listenPort: 1179", "port: 179");
    until_true("no table", || !ruleset().contains("perouter"));
    fixture.await_type5_from(&red_service(), 100, &[]);
    await_ready(&mut fixture);
    blue.assert_undisturbed(&mut fixture);
}

#[test]
fn hosts_peer_from_configured_source_addresses() {
    let own = "    sourceAddress:\n      ipv4: 192.169.10.77\n";
    let Some(mut fixture) = deploy("source", &without_red_speaker(own)) else { return };
    let blue = BlueMonitor::start(&mut fixture);
    let node = fixture.hosts[0].node().clone();
    node.check(&["ip", "address", "add", "192.169.10.77/32", "dev", "lo"]).unwrap();
    node.check(&["ip", "address", "add", "10.9.9.1/32", "dev", "lo"]).unwrap();
    node.check(&["ip", "route", "add", "192.168.20.0/24", "via", ROUTER]).unwrap();
    let from = |text: &str| Peering { local: address(text), hold: 9, ..peering() };
    let mut gobgp = speaker(&fixture, Program::Gobgp, from("192.169.10.77"));
    gobgp.start().unwrap();
    fixture.router().await_session("red", "192.169.10.77");
    fixture.await_type5(&red_service(), 100);
    until("the page of red", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
    gobgp.stop().unwrap();
    node.check(&["ip", "route", "del", "192.168.20.0/24"]).unwrap();

    // A pool outside the subnet of the veth, of which node index 0 gets the first address. The router is passive, so
    // the host connects.
    let beyond = "    sourceAddress:\n      ipv4: 10.9.9.0/24\n    multihop: {ttl: 5}\n    passive: true\n";
    fixture.edit("red.yaml", own, beyond);
    let mut bird = speaker(&fixture, Program::Bird, Peering { multihop: true, ..from("10.9.9.1") });
    bird.start().unwrap();
    fixture.router().await_session("red", "10.9.9.1");
    fixture.await_type5(&red_service(), 100);
    let connections =
        node.check(&["ss", "-Htn", "state", "established", "src", "10.9.9.1", "dport", "=", ":179"]).unwrap();
    assert_eq!(connections.lines().count(), 1, "{connections}");
    until("the page of red", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
    assert_eq!(fetch(fixture.node("hostA_blue"), RED, 2), Err(CURL_TIMED_OUT), "blue reaches red");
    blue.assert_undisturbed(&mut fixture);
}

#[test]
fn a_second_speaker_and_a_duplicate_router_id_are_reported() {
    let Some(mut fixture) = deploy("clash", &without_red_speaker("")) else { return };
    let blue = BlueMonitor::start(&mut fixture);
    let active = Peering { listens: None, ..peering() };
    let mut first = speaker(&fixture, Program::Gobgp, active.clone());
    first.start().unwrap();
    let established = fixture.router().await_session("red", HOST).established;
    let config = SpeakerConfig { peerings: vec![active], ..first.config().clone() };
    let mut second = Speaker::new(fixture.hosts[0].node(), "second", Program::Bird, config);
    second.start().unwrap();
    let log = fixture.hosts[0].node().log_folder().join("second.log");
    until_true("repeated rejections of the second speaker", || {
        std::fs::read_to_string(&log).unwrap().matches("collision").count() > 2
    });
    assert_eq!(
        fixture.router().await_session("red", HOST).established,
        established,
        "the session of the first speaker was reset"
    );
    fixture.await_type5(&red_service(), 100);
    // In `vrf` mode the kernel's counters are shared by all VRFs.
    if fixture.router().status().unwrap().vrf_mode == VrfMode::Netns {
        until_true("the second speaker in `perouter sessions` and `perouter status`", || {
            let mut shows_cause = |words: &[&str]| fixture.router().perouter(words).stdout.contains("another speaker");
            shows_cause(&["sessions", "red"]) && shows_cause(&["status"])
        });
        assert!(!fixture.router().perouter(&["sessions", "blue"]).stdout.contains("another speaker"));
    }
    second.stop().unwrap();
    first.stop().unwrap();

    // Within an AS router ids must differ (RFC 4271 section 6.2).
    fixture.edit("red.yaml", "hostasn: 64515", "hostasn: 64514");
    let config = SpeakerConfig { asn: 64514, router_id: "10.0.0.1".parse().unwrap(), ..first.config().clone() };
    let mut duplicate = Speaker::new(fixture.hosts[0].node(), "duplicate", Program::Bird, config);
    duplicate.start().unwrap();
    until_true("the cause in `perouter sessions`", || {
        fixture.router().perouter(&["sessions", "red"]).stdout.contains("router id")
    });
    blue.assert_undisturbed(&mut fixture);
}
