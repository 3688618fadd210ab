//! Unmodified `MetalLB` and FRR-K8s with the unmodified example.

use std::net::IpAddr;

use super::cluster_fixture::{ClusterFixture, path, step};
use crate::lab::fabric::{CURL_TIMED_OUT, fetch, type5_of};
use crate::lab::fixture::{BLUE, NODES, RED, SETTLE, until, until_true};

#[test]
fn the_example_works_with_real_metallb() {
    let Some(mut lab) = ClusterFixture::start("metallb") else { return };
    step("MetalLB", || lab.cluster.install_metallb().unwrap());
    step("kubectl apply -f examples/metallb/", || apply(&mut lab));
    step("traffic", || services_are_reachable_only_from_their_vrf(&lab));
    step("delete and recreate a service", || delete_and_recreate_a_service(&mut lab));
    step("kubectl delete -f examples/metallb/", || everything_is_removed(&mut lab));
}

fn apply(lab: &mut ClusterFixture) {
    lab.kubectl(&["apply", "-f", &path("examples/metallb")]);
    lab.read_indexes();
    await_services(lab);
    await_routes(lab);
}

/// Waits until both services have an address and endpoints.
fn await_services(lab: &mut ClusterFixture) {
    let addresses: [IpAddr; 2] = [RED, BLUE].map(|address| address.parse().unwrap());
    let all =
        |cluster: &mut perouter_lab::kubernetes::LabCluster| addresses.iter().all(|address| cluster.serves(*address));
    lab.cluster.sync_until("addresses of both services", all).unwrap();
}

/// Waits for the routes of both services on leafA.
fn await_routes(lab: &ClusterFixture) {
    for (address, vni) in [(RED, 100), (BLUE, 200)] {
        lab.fixture.await_type5(&format!("{address}/32"), vni);
    }
}

fn services_are_reachable_only_from_their_vrf(lab: &ClusterFixture) {
    for (host, address, reachable) in [
        ("hostA_red", RED, true),
        ("hostB_red", RED, true),
        ("hostA_blue", BLUE, true),
        ("hostB_blue", BLUE, true),
        ("hostA_blue", RED, false),
        ("hostB_red", BLUE, false),
    ] {
        if reachable {
            let page =
                until(&format!("{address} at {host}"), SETTLE, || fetch(lab.fixture.node(host), address, 3).ok());
            assert!(page.contains(&format!(" at {address}\n")), "{page}");
        } else {
            assert_eq!(fetch(lab.fixture.node(host), address, 2), Err(CURL_TIMED_OUT), "{host} reaches {address}");
        }
    }
}

fn delete_and_recreate_a_service(lab: &mut ClusterFixture) {
    let before = lab.established(None);
    lab.kubectl(&["delete", "service", "red"]);
    lab.fixture.await_type5_from(&format!("{RED}/32"), 100, &[]);
    assert_eq!(type5_of(lab.fixture.node("leafA"), &format!("{BLUE}/32")).len(), NODES.len());
    lab.cluster.sync().unwrap();
    lab.kubectl(&["apply", "-f", &path("examples/metallb/metallb.yaml")]);
    await_services(lab);
    await_routes(lab);
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
