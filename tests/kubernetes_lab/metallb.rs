//! `MetalLB` and FRR-K8s as they are, with the example as it stands.

use std::net::IpAddr;

use super::place::{Place, path, step};
use crate::lab::fabric::{CURL_TIMED_OUT, fetch, type5_of};
use crate::lab::fixture::{BLUE, NODES, RED, SETTLE, until, until_true};

#[test]
fn the_example_works_with_metallb_itself() {
    let Some(mut place) = Place::start("metallb") else { return };
    step("MetalLB", || place.cluster.install_metallb().unwrap());
    step("kubectl apply -f examples/metallb/", || apply(&mut place));
    step("traffic", || each_colour_answers_its_own(&place));
    step("a service goes and comes back", || a_service_goes_and_comes(&mut place));
    step("kubectl delete -f examples/metallb/", || all_of_it_goes(&mut place));
}

fn apply(place: &mut Place) {
    place.kubectl(&["apply", "-f", &path("examples/metallb")]);
    place.learn_indexes();
    served(place);
    await_both(place);
}

/// Waits until both services have an address and endpoints.
fn served(place: &mut Place) {
    let addresses: [IpAddr; 2] = [RED, BLUE].map(|address| address.parse().unwrap());
    let all =
        |cluster: &mut perouter_lab::kubernetes::LabCluster| addresses.iter().all(|address| cluster.serves(*address));
    place.cluster.sync_until("addresses of both services", all).unwrap();
}

fn await_both(place: &Place) {
    for (address, vni) in [(RED, 100), (BLUE, 200)] {
        place.fixture.await_type5(&format!("{address}/32"), vni);
    }
}

fn each_colour_answers_its_own(place: &Place) {
    for (host, address, answers) in [
        ("hostA_red", RED, true),
        ("hostB_red", RED, true),
        ("hostA_blue", BLUE, true),
        ("hostB_blue", BLUE, true),
        ("hostA_blue", RED, false),
        ("hostB_red", BLUE, false),
    ] {
        if answers {
            let page =
                until(&format!("{address} at {host}"), SETTLE, || fetch(place.fixture.node(host), address, 3).ok());
            assert!(page.contains(&format!(" at {address}\n")), "{page}");
        } else {
            assert_eq!(fetch(place.fixture.node(host), address, 2), Err(CURL_TIMED_OUT), "{host} reaches {address}");
        }
    }
}

fn a_service_goes_and_comes(place: &mut Place) {
    let before = place.established(None);
    place.kubectl(&["delete", "service", "red"]);
    place.fixture.await_type5_from(&format!("{RED}/32"), 100, &[]);
    assert_eq!(type5_of(place.fixture.node("leafA"), &format!("{BLUE}/32")).len(), NODES.len());
    place.cluster.sync().unwrap();
    place.kubectl(&["apply", "-f", &path("examples/metallb/metallb.yaml")]);
    served(place);
    await_both(place);
    assert_eq!(place.established(None), before, "a service is no matter of sessions");
}

fn all_of_it_goes(place: &mut Place) {
    place.kubectl(&["delete", "--wait=false", "-f", &path("examples/metallb")]);
    for (address, vni) in [(RED, 100), (BLUE, 200)] {
        place.fixture.await_type5_from(&format!("{address}/32"), vni, &[]);
    }
    for node in NODES {
        until_true("the NIC back in the node", || {
            place.fixture.node(node).run(&["ip", "link", "show", "toswitch"]).unwrap().success()
        });
    }
    let none = |cluster: &mut perouter_lab::kubernetes::LabCluster| {
        cluster.kubelet().running().all(|pod| pod.namespace != "default")
    };
    place.cluster.sync_until("no Pod of the services", none).unwrap();
}
