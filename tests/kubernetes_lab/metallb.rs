//! Unmodified `MetalLB` and FRR-K8s with the unmodified example, and Multus beside them.

use super::cluster_fixture::{ClusterFixture, path, step};
use super::multus;
use crate::lab::fabric::type5_of;
use crate::lab::fixture::{BLUE, NODES, RED, until_true};

#[test]
fn the_example_works_with_real_metallb() {
    let Some(mut lab) = ClusterFixture::start("metallb") else { return };
    step("MetalLB", || lab.cluster.install_metallb().unwrap());
    step("kubectl apply -f examples/metallb/", || lab.apply_example());
    step("traffic", || lab.services_are_reachable_only_from_their_vrf());
    step("delete and recreate a service", || delete_and_recreate_a_service(&mut lab));
    if let Some(multus) = multus::programs() {
        step("Multus", || multus::pods_are_attached(&mut lab, &multus));
    }
    step("kubectl delete -f examples/metallb/", || everything_is_removed(&mut lab));
}

fn delete_and_recreate_a_service(lab: &mut ClusterFixture) {
    let before = lab.established(None);
    lab.kubectl(&["delete", "service", "red"]);
    lab.fixture.await_type5_from(&format!("{RED}/32"), 100, &[]);
    assert_eq!(type5_of(lab.fixture.node("leafA"), &format!("{BLUE}/32")).len(), NODES.len());
    lab.cluster.sync().unwrap();
    lab.kubectl(&["apply", "-f", &path("examples/metallb/metallb.yaml")]);
    lab.await_services();
    lab.await_routes();
    assert_eq!(lab.established(None), before, "a change of a service reset a session");
}

fn everything_is_removed(lab: &mut ClusterFixture) {
    lab.kubectl(&["delete", "--wait=false", "-f", &path("examples/metallb")]);
    for (address, vni) in [(RED, 100), (BLUE, 200)] {
        lab.fixture.await_type5_from(&format!("{address}/32"), vni, &[]);
    }
    for node in NODES {
        until_true("the NIC back on the host", || {
            lab.fixture.node(node).run(&["ip", "link", "show", "toswitch"]).unwrap().success()
        });
    }
    let no_pods = |cluster: &mut perouter_lab::kubernetes::LabCluster| {
        cluster.kubelet().running().all(|pod| pod.namespace != "default")
    };
    lab.cluster.sync_until("no Pod of the services", no_pods).unwrap();
}
