use super::*;
use crate::kind::Spec;
use crate::snapshot::{Kind, Object, SecretKey};
use crate::types::Secret;

fn l3vni(name: &str, vni: u32, created: Option<i64>) -> (ObjectRef, Object) {
    let spec = Spec::from_json(Kind::L3VNI, serde_json::json!({ "asn": 64514, "vni": vni })).unwrap();
    (ObjectRef::new(Kind::L3VNI, "default", name), Object { created, ..Object::new(spec) })
}

fn snapshot(index: u32, labels: &[(&str, &str)], l3vnis: Vec<(ObjectRef, Object)>) -> Snapshot {
    let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let node = NodeIdentity { name: "n".into(), index, labels };
    Snapshot { node, objects: l3vnis.into_iter().collect(), ..Snapshot::default() }
}

fn summary(snapshot: &Snapshot) -> Vec<String> {
    let accepted = snapshot.objects.iter().map(|(key, object)| match &object.spec {
        Spec::L3VNI(spec) => format!("{} {}", key.name, spec.vni),
        Spec::Underlay(_) | Spec::L2VNI(_) => panic!("no L3VNI: {key}"),
    });
    accepted.chain(snapshot.rejected.iter().map(|r| format!("{} {}", r.reason, r.object.name))).collect()
}

#[test]
fn directory_objects_take_precedence() {
    let directory = snapshot(0, &[], vec![l3vni("red", 100, None), l3vni("x", 5, None)]);
    let api = snapshot(7, &[], vec![l3vni("blue", 200, Some(1)), l3vni("red", 101, Some(1))]);
    let merged = merge(&directory, Some(&api), None).unwrap();
    assert_eq!(summary(&merged), ["blue 200", "red 100", "x 5", "Conflict red"]);
    assert_eq!(merged.node.index, 7);
}

#[test]
fn the_directory_alone_is_enough_only_where_the_index_is_known() {
    let directory = snapshot(0, &[], vec![l3vni("red", 100, None)]);
    assert_eq!(merge(&directory, None, None), None);
    let alone = merge(&directory, None, Some(4)).unwrap();
    assert_eq!((summary(&alone), alone.node.index), (vec!["red 100".to_owned()], 4));
}

#[test]
fn labels_of_the_command_line_are_added_to_those_of_the_node() {
    let directory = snapshot(0, &[("rack", "a")], vec![]);
    let api = snapshot(1, &[("rack", "b"), ("zone", "z")], vec![]);
    let merged = merge(&directory, Some(&api), None).unwrap();
    let wanted = [("rack".to_owned(), "a".to_owned()), ("zone".to_owned(), "z".to_owned())].into();
    assert_eq!(merged.node.labels, wanted);
}

#[test]
fn a_secret_of_either_source_is_available() {
    let key = SecretKey { namespace: "default".into(), name: "bgp".into(), key: "password".into() };
    let with = |secret: Result<&str, &str>| {
        let secret = secret.map(|text| Secret::new(text.into())).map_err(str::to_owned);
        Snapshot { secrets: [(key.clone(), secret)].into(), ..Snapshot::default() }
    };
    for (directory, api, wanted) in [
        (Ok("d"), Ok("a"), Some("d")),
        (Err("no file"), Ok("a"), Some("a")),
        (Ok("d"), Err("no Secret"), Some("d")),
        (Err("no file"), Err("no Secret"), None),
    ] {
        let merged = merge(&with(directory), Some(&with(api)), Some(0)).unwrap();
        assert_eq!(merged.secrets[&key].as_ref().ok().map(Secret::expose), wanted);
    }
}
