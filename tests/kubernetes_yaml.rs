//! What kubectl and the API server make of a YAML text, and what the directory source makes of it: the same object, or the
//! directory rejects it. A generated corpus: scalars in fields of every type, and documents with the parts of YAML that
//! parsers read differently.

#![allow(clippy::unwrap_used, reason = "a test file")]

mod kubernetes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use kubernetes::control_plane;
use perouter::kind::{Kind, ObjectRef, Spec};
use perouter::snapshot::NodeIdentity;
use perouter_lab::kubernetes::{Kubectl, Options};
use serde_json::Value;

/// Plain scalars, as YAML 1.1, YAML 1.2 and Go read them differently, and some in quotes.
const SCALARS: &[&str] = &[
    "yes",
    "No",
    "y",
    "N",
    "on",
    "OFF",
    "true",
    "True",
    "tRUE",
    "yEs",
    "null",
    "~",
    "Null",
    "nULL",
    "100",
    "0100",
    "00100",
    "0o144",
    "0x64",
    "0X64",
    "0b1100100",
    "1_00",
    "_100",
    "100_",
    "+100",
    "-100",
    "1e2",
    "1E2",
    "1.0e2",
    "100.0",
    "100.",
    ".1e3",
    "100.5",
    "1e400",
    ".inf",
    ".nan",
    "08",
    "018",
    "12:30",
    "1:40",
    "2026-11-28",
    "2026-11-28T10:00:00Z",
    "18446744073709551616",
    "4294967295",
    "4294967296",
    "'100'",
    "\"100\"",
    "'yes'",
    "!!str 100",
    "!!int '100'",
    "!!int 100",
    "192.0.2.0/24",
    "192.000.2.0/24",
    "192.0.2.0/024",
    "0192.0.2.0/24",
    "10.0.0.0/8",
    "010.0.0.0/8",
    "'10.0.0.0/8'",
    "2001:db8::/64",
    "2001:DB8::/64",
    "::ffff:10.0.0.0/104",
    "192.0.2.1",
    "192.0.2.01",
    "64514:100",
    "064514:100",
    "red",
    "'red'",
    "\"r\\x65d\"",
    "\"r\\u0065d\"",
    "\"r\\\n      ed\"",
    "re\n      d",
    "|\n    red",
    ">-\n    red",
    "|-\n    red",
    "*a",
    "&x red",
    "[100]",
    "{a: 100}",
    "",
    "# none",
    "\"a\\u001bb\"",
    "\"\\u202ered\"",
];

/// A field of each type, and what stands in its place in the document.
const FIELDS: &[(&str, &str)] = &[
    ("vni", "100"),
    ("vrf", "red"),
    ("asn", "64514"),
    ("vxlanport", "4789"),
    ("cidr", "192.169.10.0/24"),
    ("passive", "true"),
    ("route_target", "64514:100"),
    ("label", "blue"),
];

/// Whole documents; `NAME` is the name of the object.
const DOCUMENTS: &[&str] = &[
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, asn: 2, vni: 1, vrf: a}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {<<: {asn: 1}, asn: 2, vni: 1, vrf: a}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 2, <<: {asn: 1}, vni: 1, vrf: a}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec:\n  <<: [{asn: 1}, {asn: 2, vni: 3}]\n  vrf: a\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: &m {name: NAME}\nspec: {asn: &n 1, vni: *n, vrf: a}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: *n, vni: 1, vrf: a}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\r\nkind: L3VNI\r\nmetadata: {name: NAME}\r\nspec: {asn: 1, vni: 1, vrf: a}\r\n",
    "%YAML 1.2\n---\napiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 010, vrf: a}\n",
    "%YAML 1.1\n---\napiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 010, vrf: a}\n",
    "\u{feff}apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 1, vrf: a}\n",
    "{\"apiVersion\": \"openpe.openperouter.github.io/v1alpha1\", \"kind\": \"L3VNI\",\n\t\"metadata\": {\"name\": \"NAME\"}, \"spec\": {\"asn\": 1, \"vni\": 1e2, \"vrf\": \"a\"}}\n",
    "? apiVersion\n: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 1, vrf: a}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 1, vrf: a, nodeSelector: {matchLabels: {1: a, yes: b, 0x10: c}}}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 1, vrf: a, nodeSelector: {matchLabels: {1: a, '1': b}}}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 1, vrf: a, nodeSelector: {matchLabels: {~: a}}}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 1, vrf: a, nodeSelector: {matchLabels: {1.5: a}}}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 1, vrf: a, hostSession: null}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 1, vrf: a, routeTargets: {import: [1:1, 64514:100]}}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec:\n  asn: 1\n  vni: 1\n  vrf: a\n  routeTargets:\n    import:\n    - 1:1\n    - '1:1'\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata:\n  name: NAME\nspec:\n  asn: 1\n  vni: 1\n\tvrf: a\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 1, vrf: a}\n...\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: !custom {asn: 1, vni: 1, vrf: a}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nKind: L3VNI\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 1, vrf: a}\n",
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: NAME}\nspec: {asn: 1, vni: 1, VRF: a}\n",
];

fn document(name: &str, field: &str, scalar: &str) -> String {
    let of = |wanted: &str, default: &str| if wanted == field { scalar.to_owned() } else { default.to_owned() };
    let mut values = BTreeMap::new();
    for (field, default) in FIELDS {
        values.insert(*field, of(field, default));
    }
    format!(
        "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata:\n  name: {name}\n  annotations: {{x: &a \
         '100'}}\nspec:\n  asn: {}\n  vni: {}\n  vrf: {}\n  vxlanport: {}\n  localcidr:\n    ipv4: {}\n  hostSession:\n    \
         passive: {}\n  routeTargets:\n    import:\n    - {}\n  nodeSelector:\n    matchLabels:\n      color: {}\n",
        values["asn"],
        values["vni"],
        values["vrf"],
        values["vxlanport"],
        values["cidr"],
        values["passive"],
        values["route_target"],
        values["label"],
    )
}

/// Random scalars of the characters of numbers and words, the same ones each time.
fn random_scalars() -> Vec<String> {
    let characters: Vec<char> = "0123456789_+-.eExXoObyYnN".chars().collect();
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(bound).unwrap()).unwrap()
    };
    (0..300).map(|_| (0..=next(5)).map(|_| characters[next(characters.len())]).collect()).collect()
}

/// The texts of the corpus by the name of their object.
fn corpus() -> BTreeMap<String, String> {
    let mut texts = Vec::new();
    let random = random_scalars();
    for (field, _) in FIELDS {
        texts.extend(SCALARS.iter().map(|scalar| (*field, (*scalar).to_owned())));
    }
    texts.extend(random.into_iter().zip(FIELDS.iter().cycle()).map(|(scalar, (field, _))| (*field, scalar)));
    let named = |number: usize| format!("case-{number}");
    let scalars = texts.iter().enumerate().map(|(number, (field, scalar))| {
        let name = named(number);
        (name.clone(), document(&name, field, scalar))
    });
    let documents = DOCUMENTS.iter().enumerate().map(|(number, text)| {
        let name = named(texts.len() + number);
        (name.clone(), text.replace("NAME", &name))
    });
    scalars.chain(documents).collect()
}

/// The specs that the API server would store, by the name of the object.
fn stored(kubectl: &Kubectl, dir: &Path) -> BTreeMap<String, Spec> {
    let dir = dir.to_str().unwrap();
    let output = kubectl.run(&["create", "--dry-run=server", "--namespace=default", "-o", "json", "-f", dir]).unwrap();
    let mut objects: Vec<Value> =
        serde_json::Deserializer::from_str(&output.stdout).into_iter().map(Result::unwrap).collect();
    let items: Vec<Value> = objects
        .iter_mut()
        .flat_map(|object| object["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
        .collect();
    objects.extend(items);
    let named = |object: &Value| Some((object["metadata"]["name"].as_str()?.to_owned(), object["spec"].clone()));
    let spec = |(name, spec)| (name, Spec::from_json(Kind::L3VNI, spec).unwrap());
    objects.iter().filter_map(named).map(spec).collect()
}

#[test]
fn the_directory_reads_what_kubectl_reads_or_rejects_it() {
    let Some(plane) = control_plane(Options::on_machine()) else { return };
    let kubectl = plane.kubectl();
    kubectl.check(&["apply", "--server-side", "-k", "crds"]).unwrap();
    kubectl.check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();

    let corpus = corpus();
    let dir = tempfile::tempdir().unwrap();
    let (mut of_api, mut of_directory) = (BTreeMap::new(), BTreeMap::new());
    let node = NodeIdentity { name: "n1".into(), index: 0, labels: BTreeMap::new() };
    for (number, chunk) in corpus.iter().collect::<Vec<_>>().chunks(50).enumerate() {
        let dir = dir.path().join(number.to_string());
        fs::create_dir(&dir).unwrap();
        for (name, text) in chunk {
            fs::write(dir.join(format!("{name}.yaml")), text).unwrap();
        }
        of_api.extend(stored(&kubectl, &dir));
        let snapshot = perouter::source::read(&dir, &dir.join("secrets"), &node).unwrap();
        let named = |(ObjectRef { name, .. }, object): (ObjectRef, perouter::snapshot::Object)| (name, object.spec);
        of_directory.extend(snapshot.objects.into_iter().map(named));
    }
    assert!(of_api.len() > corpus.len() / 6, "{} of {} are valid for the API server", of_api.len(), corpus.len());
    let mut differ = Vec::new();
    for (name, text) in &corpus {
        match (of_directory.get(name), of_api.get(name)) {
            (Some(ours), theirs) if Some(ours) != theirs => differ.push(format!("{text}\n{ours:?}\n{theirs:?}")),
            _ => {}
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n\n"));
    // What is rejected although kubectl reads it: duplicate keys, tags, and a merge after what it would replace.
    let more: BTreeSet<&str> =
        of_api.keys().filter(|name| !of_directory.contains_key(*name)).map(|name| corpus[name].as_str()).collect();
    let may_be_rejected = |text: &str| {
        ["asn: 1, asn: 2", "asn: 2, <<", "!!int", "!custom", "1: a, '1': b", "1.5: a"]
            .iter()
            .any(|part| text.contains(part))
    };
    let unexpected: Vec<_> = more.into_iter().filter(|text| !may_be_rejected(text)).collect();
    assert!(unexpected.is_empty(), "rejected by the directory only:\n{}", unexpected.join("\n\n"));
    println!(
        "{} texts: {} objects of the API server, {} of the directory",
        corpus.len(),
        of_api.len(),
        of_directory.len()
    );
}
