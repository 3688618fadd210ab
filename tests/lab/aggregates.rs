//! Aggregates instead of host routes, per VNI and per node.

use super::fabric::{CURL_TIMED_OUT, fetch, served_by};
use super::fixture::{BLUE, Fixture, NODES, RED, SETTLE, Setup, until, until_true};
use super::kernel_state::leaf_next_hops;

const ZONE: &str = "topology.kubernetes.io/zone";
const FIRST: &str = "100.65.0.1";
const SECOND: &str = "100.65.0.2";
/// The pool of red, an address of it that no service has, and a prefix that covers both pools.
const POOL: &str = "172.30.0.0/28";
const UNUSED: &str = "172.30.0.9";
const ALL_POOLS: &str = "172.30.0.0/24";

fn selecting(zone: &str) -> String {
    format!("  nodeSelector:\n    matchLabels:\n      {ZONE}: {zone}\n")
}

fn aggregate(prefix: &str, summary_only: bool) -> String {
    format!("  toFabric:\n    aggregates:\n    - prefix: {prefix}\n      summaryOnly: {summary_only}\n")
}

/// Red advertises only its pool in the first rack and only its addresses in the second; blue advertises both in both
/// racks.
fn setup() -> Setup {
    let mut setup = Setup::example().with_leaf_b().labeled(0, ZONE, "rack-1").labeled(1, ZONE, "rack-2");
    let second = setup.objects["red.yaml"].replace("name: red", "name: red-rack-2");
    setup.objects.insert("red-rack-2.yaml", second);
    setup
        .with("red.yaml", &(selecting("rack-1") + &aggregate(POOL, true)))
        .with("red-rack-2.yaml", &("  vrf: red\n".to_owned() + &selecting("rack-2")))
        .with("blue.yaml", &aggregate(ALL_POOLS, false))
}

#[test]
#[allow(clippy::too_many_lines, reason = "one scenario, step by step")]
fn an_aggregate_applies_to_its_vni_and_nodes_and_is_withdrawn_with_its_last_component() {
    let Some(mut fixture) = Fixture::deploy("aggregates", &[0, 1], &setup()) else { return };
    for router in &mut fixture.routers {
        router.start();
    }
    fixture.start_hosts();
    let (red, blue) = (format!("{RED}/32"), format!("{BLUE}/32"));
    let from = |prefix: &str, vni: u32, vteps: &[&str]| {
        fixture.await_type5_from(prefix, vni, &vteps.iter().map(ToString::to_string).collect::<Vec<_>>());
        let vrf = if vni == 100 { "red" } else { "blue" };
        until_true(&format!("next hops {vteps:?} of {prefix} in {vrf} of leafA"), || {
            leaf_next_hops(fixture.node("leafA"), vrf, prefix).iter().eq(vteps)
        });
    };
    let page = |host: &str, address: &str| {
        until(&format!("http://{address}/ at {host}"), SETTLE, || fetch(fixture.node(host), address, 3).ok())
    };

    // Each node and each VNI follows its own object.
    from(POOL, 100, &[FIRST]);
    from(&red, 100, &[SECOND]);
    from(ALL_POOLS, 200, &[FIRST, SECOND]);
    from(&blue, 200, &[FIRST, SECOND]);
    page("hostA_red", RED);
    page("hostA_blue", BLUE);
    assert!(served_by(fixture.node("hostA_red"), RED, 12).keys().eq([NODES[1]]), "the host route is preferred");
    assert_eq!(fetch(fixture.node("hostB_blue"), RED, 2), Err(CURL_TIMED_OUT), "blue reaches red by aggregate");

    // Without the host route of the second node, traffic follows the aggregate of the first.
    fixture.hosts[1].withdraw("red").unwrap();
    from(&red, 100, &[]);
    assert!(served_by(fixture.node("hostA_red"), RED, 12).keys().eq([NODES[0]]), "through the first node");

    // Without summaryOnly: component routes and the aggregate.
    fixture.edit("red.yaml", "summaryOnly: true", "summaryOnly: false");
    from(&red, 100, &[FIRST]);
    from(POOL, 100, &[FIRST]);
    fixture.edit("red.yaml", "summaryOnly: false", "summaryOnly: true");
    from(&red, 100, &[]);
    from(POOL, 100, &[FIRST]);
    page("hostB_red", RED);
    // An address of the pool that no host advertises.
    let trace = fixture.routers[0].perouter(&["trace", UNUSED, "--vrf", "red"]);
    let words = format!("FAIL  kernel  packets are discarded, as no route is more specific than {POOL}");
    assert!(trace.code == Some(1) && trace.stdout.contains(&words), "{trace:?}");

    // The last component is withdrawn, and with it the aggregate of this VNI only.
    fixture.hosts[0].withdraw("red").unwrap();
    from(POOL, 100, &[]);
    from(ALL_POOLS, 200, &[FIRST, SECOND]);
    assert_eq!(fetch(fixture.node("hostA_red"), RED, 2), Err(CURL_TIMED_OUT), "red is reachable without a route");
    page("hostA_blue", BLUE);
    fixture.hosts[0].announce("red").unwrap();
    from(POOL, 100, &[FIRST]);
    from(&red, 100, &[]);
    page("hostA_red", RED);

    // FRR also counts a component received from the fabric. So both nodes advertise the aggregate as long as one of
    // them advertises a component.
    fixture.hosts[0].withdraw("blue").unwrap();
    from(&blue, 200, &[SECOND]);
    from(ALL_POOLS, 200, &[FIRST, SECOND]);
    assert!(served_by(fixture.node("hostA_blue"), BLUE, 12).keys().eq([NODES[1]]), "the host route is preferred");
    fixture.hosts[1].withdraw("blue").unwrap();
    from(ALL_POOLS, 200, &[]);
    from(&blue, 200, &[]);
}
