//! A rejected object next to accepted ones.

use perouter::status::model::{ObjectState, Resource};

use super::fixture::{Fixture, l3vni};

/// A mistake, and the words by which the status must explain it and its fix.
struct Mistake {
    what: &'static str,
    text: String,
    words: &'static [&'static str],
}

fn mistakes() -> Vec<Mistake> {
    let good = || l3vni("yellow", 300, "192.169.14.0/24");
    vec![
        Mistake {
            what: "duplicate VNI",
            text: l3vni("yellow", 100, "192.169.14.0/24"),
            words: &["spec.vni", "L3VNI openperouter-system/red", "use another"],
        },
        Mistake {
            what: "overlapping localcidr",
            text: l3vni("yellow", 300, "192.169.11.128/25"),
            words: &["spec.localcidr.ipv4", "overlaps 192.169.11.0/24", "use another subnet"],
        },
        Mistake {
            what: "pool too small for this node",
            text: l3vni("yellow", 300, "192.169.14.0/30"),
            words: &["spec.localcidr.ipv4", "192.169.14.0/30", "1"],
        },
        Mistake { what: "syntax error", text: good() + "  nodeSelector: [\n", words: &["yellow.yaml:"] },
        Mistake { what: "unknown field", text: good() + "  vlan: 7\n", words: &["yellow.yaml:", "vlan"] },
    ]
}

#[test]
fn a_rejected_object_affects_no_other_and_the_status_explains_the_fix() {
    // The second node: its index does not fit into a /30.
    let Some(mut fixture) = Fixture::start("rejection", &[1]) else { return };
    let others = [None, Some("red"), Some("blue")];
    let established = fixture.router().established(&others);
    let streams = [fixture.stream("red"), fixture.stream("blue")];
    for Mistake { what, text, words } in mistakes() {
        fixture.write("yellow.yaml", &text);
        let of_file = |r: &&Resource| r.location.as_ref().is_some_and(|at| at.file.ends_with("yellow.yaml"));
        let router = fixture.router();
        let rejected = router.await_status(what, |status| {
            let is_rejected = |r: &&Resource| r.state == ObjectState::Rejected && (r.name == "yellow" || of_file(r));
            status.resources.iter().find(is_rejected).cloned()
        });
        println!("{what}: {} {}: {}", rejected.object(), rejected.reason, rejected.message);
        router.await_ready(&[100, 200]);
        let shown = router.perouter(&["status"]);
        assert_eq!(shown.code, Some(1), "{what}: an object is rejected: {shown:?}");
        for word in words {
            assert!(shown.stdout.contains(word), "{what}: no `{word}` in\n{}", shown.stdout);
        }
        fixture.write("yellow.yaml", &l3vni("yellow", 300, "192.169.14.0/24"));
        let router = fixture.router();
        router.await_l3vni("yellow", ObjectState::Ready);
        router.await_ready(&[100, 200, 300]);
        fixture.remove("yellow.yaml");
        fixture.router().await_ready(&[100, 200]);
    }
    assert_eq!(fixture.router().established(&others), established);
    for (stream, colour) in streams.into_iter().zip(["red", "blue"]) {
        stream.finish().assert_lossless(colour);
    }
}
