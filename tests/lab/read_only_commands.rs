//! Read-only subcommands: plan, validate, status, sessions, routes, trace.

use perouter_lab::CommandOutput;

use super::fixture::{Fixture, RED, SETTLE, Setup, l3vni, until, until_true};
use super::kernel_state::links;
use super::router::Router;

#[test]
fn plan_validate_and_status_report_and_change_nothing() {
    let Some(mut fixture) = Fixture::deploy("inspection", &[0], &Setup::example()) else { return };
    let folder = fixture.path(".").display().to_string();
    let node = fixture.router().node.clone();
    let before = links(&node);
    let router = fixture.router();

    let plan = router.plan();
    assert_eq!(plan.code, Some(3), "{plan:?}");
    for words in ["toswitch", "router bgp 64514 vrf red", "vni 200", "kernel operations,"] {
        assert!(plan.stdout.contains(words), "no `{words}` in\n{}", plan.stdout);
    }
    assert_eq!(links(&node), before);
    assert!(!node.run(&["ls", "/run/perouter"]).unwrap().success());

    let no_status = router.perouter(&["status"]);
    assert_eq!(no_status.code, Some(2));
    assert!(no_status.stderr.contains("no status at /run/perouter/status.json"), "{}", no_status.stderr);

    let good = router.perouter(&["validate", &folder]);
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(good.stdout.ends_with(": 3 objects, 0 rejected\n"), "{}", good.stdout);
    fixture.write("yellow.yaml", &l3vni("yellow", 100, "192.169.10.0/25"));
    let bad = fixture.router().perouter(&["validate", &folder]);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert!(bad.stdout.ends_with(": 4 objects, 1 rejected\n"), "{}", bad.stdout);
    for words in
        ["L3VNI openperouter-system/yellow: spec.vni: VNI 100", "spec.localcidr.ipv4: 192.169.10.0/25 overlaps"]
    {
        assert!(bad.stderr.contains(words), "no `{words}` in\n{}", bad.stderr);
    }
    fixture.remove("yellow.yaml");

    let router = fixture.router();
    router.start();
    router.await_ready(&[100, 200]);
    // Its objects are in place, and then the fabric is connected.
    let table =
        until("a router that is ready", SETTLE, || Some(router.perouter(&["status"])).filter(CommandOutput::success));
    for words in ["pe-kind-control-plane  0", "100.65.0.1", "L3VNI", "red", "Ready", "192.169.10.2"] {
        assert!(table.stdout.contains(words), "no `{words}` in\n{}", table.stdout);
    }
    let json = router.perouter(&["status", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let resources = status["resources"].as_array().unwrap().len();
    assert_eq!((&status["kind"], &status["index"], resources), (&"NodeStatus".into(), &0.into(), 3));
    assert_eq!((&status["ready"], &status["frrAnswers"]), (&true.into(), &true.into()));
    let yaml = router.perouter(&["status", "-o", "yaml"]);
    assert!(yaml.success() && yaml.stdout.contains("\nvtep: \"100.65.0.1\"\n"), "{yaml:?}");
}

#[track_caller]
fn assert_prints(output: &CommandOutput, words: &[&str]) {
    for words in words {
        assert!(output.stdout.contains(words), "no `{words}` in\n{}{}", output.stdout, output.stderr);
    }
}

fn assert_unknown_vrf(router: &Router) {
    for (args, known) in [
        (&["routes", "green"][..], "blue, red"),
        (&["trace", RED, "--vrf", "green"], "blue, red"),
        (&["sessions", "green"], "blue, default, red"),
    ] {
        let unknown = router.perouter(args);
        assert_eq!(unknown.code, Some(2), "{args:?}");
        let message = format!("VRF green not found; VRFs of this router: {known}\n");
        assert!(unknown.stderr.contains(&message), "{args:?}: {}", unknown.stderr);
    }
}

/// The trace of the service with both directions: the leaf sends the routes of the fabric a second after its session is established.
fn traced_both_ways(router: &Router) -> CommandOutput {
    until("a trace in both directions", SETTLE, || {
        let traced = router.perouter(&["trace", RED]);
        traced.stdout.contains(", from the host to the fabric").then_some(traced)
    })
}

#[test]
fn sessions_routes_and_trace_show_routes_and_the_cause_of_a_failure() {
    let Some(mut fixture) = Fixture::start("trace", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    let router = fixture.router();
    let sessions = router.perouter(&["sessions"]);
    assert!(sessions.success(), "{sessions:?}");
    assert_prints(&sessions, &["default  192.168.11.2  leafkind", "red      192.169.10.2", "Established"]);
    let routes = router.perouter(&["routes", "red", "--from", "host"]);
    assert_prints(
        &routes,
        &["172.30.0.10/32  *     host  192.169.10.2", "192.169.10.2 dev pe-100", "advertised to 1 peer"],
    );
    assert!(!routes.stdout.contains("fabric"), "{}", routes.stdout);
    let json = router.perouter(&["routes", "red", "-o", "json"]);
    let table: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let items = table["items"].as_array().unwrap();
    let service = items.iter().find(|route| route["prefix"] == "172.30.0.10/32").unwrap();
    assert_eq!(service["type5"]["routeTargets"], serde_json::json!(["64514:100"]));
    let wide = router.perouter(&["sessions", "-o", "wide", "--no-headers"]);
    assert_prints(&wide, &["evpn ", "ipv4 ", "routeRefresh"]);
    // zebra of the host installs its routes a moment later.
    until_true("complete paths", || traced_both_ways(router).success());
    let service = traced_both_ways(router);
    assert!(service.success(), "{service:?}");
    assert_prints(
        &service,
        &[
            "VRF red (VNI 100), to 172.30.0.10, from the fabric to the host\n  ok    host    192.169.10.2 advertises 172.30.0.10/32, AS path 64515\n",
            "ok    kernel  172.30.0.10/32 via 192.169.10.2 dev pe-100",
            "RT 64514:100, VNI 100, router MAC 02:00:64:41:00:01, next hop 100.65.0.1",
            "ok    fabric  advertised to 192.168.11.2 (leafkind)",
            ", from the host to the fabric, as an example\n",
            "VRF blue (VNI 200): no route to 172.30.0.10",
        ],
    );
    let remote = router.perouter(&["trace", "192.168.20.2", "--vrf", "red"]);
    assert!(remote.success(), "{remote:?}");
    assert_prints(&remote, &["has 192.168.20.0/24 behind VTEP 100.64.0.1", "ok    host    advertised to 192.169.10.2"]);
    let both = router.perouter(&["trace", RED, "--from", "192.168.20.2", "--vrf", "red", "-o", "wide"]);
    assert!(both.success(), "{both:?}");
    assert_prints(
        &both,
        &[
            "VRF red (VNI 100), to 192.168.20.2, from the host to the fabric\n",
            "ok    host    the node sends packets to 192.168.20.2 over host-100",
            "ok    route   VTEP 100.64.0.1 via 192.168.11.2 dev toswitch",
            "links   packets of ",
            "# bgpd: show bgp vrf red ipv4 unicast 172.30.0.10/32\n",
        ],
    );
    assert_unknown_vrf(router);

    // The host shuts down its session.
    fixture.hosts[0].vtysh(&["configure terminal", "router bgp 64515", "neighbor 192.169.10.1 shutdown"]).unwrap();
    let router = fixture.router();
    until_true("the session going down", || router.perouter(&["sessions", "red"]).code == Some(1));
    assert_prints(&router.perouter(&["sessions"]), &["the peer is shut down by its administrator"]);
    until_true("the path becoming incomplete", || router.perouter(&["trace", RED]).code == Some(1));
    let gone = router.perouter(&["trace", RED, "--vrf", "red"]);
    assert_prints(&gone, &["FAIL  VRF     no route covers 172.30.0.10: session with 192.169.10.2 is ", "shut down"]);
    router.terminate();
    assert!(router.perouter(&["cleanup"]).success());
    let not_running = router.perouter(&["sessions"]);
    assert!(not_running.stderr.contains("is `perouter run` running on this node?"), "{}", not_running.stderr);
}
