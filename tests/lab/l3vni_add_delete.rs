//! An L3VNI that is added and deleted next to others.

use super::fixture::{Fixture, l3vni, until_true};
use super::kernel_state::{links, vrf_exists};

#[test]
fn adding_and_deleting_a_third_vni_leaves_no_state_and_disturbs_no_other() {
    let Some(mut fixture) = Fixture::start("addition", &[0]) else { return };
    let router = fixture.router();
    router.await_ready(&[100, 200]);
    let others = [None, Some("red"), Some("blue")];
    let established = router.established(&others);
    let (links_before, running_before) = (links(&router.node), router.running());
    let streams = [fixture.stream("red"), fixture.stream("blue")];

    fixture.write("green.yaml", &l3vni("green", 300, "192.169.12.0/24"));
    fixture.await_type5("192.169.12.2/32", 300);
    let router = fixture.router();
    router.await_ready(&[100, 200, 300]);
    let change = router.status().unwrap().last_change;
    println!("adding an L3VNI took {} kernel operations and {} FRR lines", change.kernel_ops, change.frr_lines);
    println!("in {} ms", change.duration_ms);
    assert!(change.kernel_ops > 0 && change.frr_lines > 0, "{change:?}");
    assert!(vrf_exists(&router.node, "green"));

    fixture.remove("green.yaml");
    fixture.await_type5_from("192.169.12.2/32", 300, &[]);
    let router = fixture.router();
    router.await_ready(&[100, 200]);
    if !router.keeps_netns() {
        until_true("VRF green removed from zebra", || !router.vrfs().keys().any(|vrf| vrf.as_str() == "green"));
    }
    assert!(!vrf_exists(&router.node, "green"));
    assert_eq!(links(&router.node), links_before);
    assert_eq!(router.running(), running_before);
    assert_eq!(router.vnis().keys().map(|vni| vni.get()).collect::<Vec<_>>(), [100, 200]);
    assert_eq!(router.established(&others), established);
    for (stream, colour) in streams.into_iter().zip(["red", "blue"]) {
        stream.finish().assert_lossless(colour);
    }
}
