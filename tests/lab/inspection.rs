//! The commands that only look: plan, validate, status.

use perouter::status::NodeStatus;

use super::fixture::{Fixture, Setup, l3vni};
use super::place::links;

#[test]
fn plan_validate_and_status_tell_and_change_nothing() {
    let Some(mut fixture) = Fixture::deploy("inspection", &[0], &Setup::example()) else { return };
    let folder = fixture.path(".").display().to_string();
    let node = fixture.router().node.clone();
    let before = links(&node);
    let router = fixture.router();

    let plan = router.plan();
    assert_eq!(plan.code, Some(2), "{plan:?}");
    for words in ["toswitch", "router bgp 64514 vrf red", "vni 200", "kernel operations,"] {
        assert!(plan.stdout.contains(words), "no `{words}` in\n{}", plan.stdout);
    }
    assert_eq!(links(&node), before);
    assert!(!node.run(&["ls", "/run/perouter"]).unwrap().success());

    let none = router.perouter(&["status"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("no status at /run/perouter/status.json"), "{}", none.stderr);

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
    let table = router.perouter(&["status"]);
    assert!(table.success(), "{table:?}");
    for words in ["pe-kind-control-plane  0", "100.65.0.1", "L3VNI", "red", "Ready", "192.169.10.2"] {
        assert!(table.stdout.contains(words), "no `{words}` in\n{}", table.stdout);
    }
    let json = router.perouter(&["status", "-o", "json"]);
    let status: NodeStatus = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((status.index, status.resources.len(), status.ready), (0, 3, true));
    let yaml = router.perouter(&["status", "-o", "yaml"]);
    assert!(yaml.success() && yaml.stdout.contains("\nvtep: \"100.65.0.1\"\n"), "{yaml:?}");
}
