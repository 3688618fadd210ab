//! Examples on the pages. In: pages. Out: objects that `perouter validate` rejects, and excerpts that their file does not have.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use perouter::kind::GROUP;
use serde_json::{Value, json};

use super::markdown::{Block, Page};

/// What is wrong with the YAML blocks and the excerpts of files.
pub fn wrong(root: &Path, pages: &BTreeMap<PathBuf, Page>) -> Vec<String> {
    let blocks = pages.iter().flat_map(|(path, page)| page.blocks.iter().map(move |block| (path, block)));
    blocks
        .filter_map(|(path, block)| {
            let problem = match (block.language.as_str(), block.noted("part of")) {
                ("yaml", file) => yaml(root, block, file),
                (_, Some(file)) => excerpt(root, &block.text, file),
                _ => None,
            };
            problem.map(|problem| format!("{}:{}: {problem}", path.display(), block.line))
        })
        .collect()
}

fn yaml(root: &Path, block: &Block, file: Option<&str>) -> Option<String> {
    let documents: Vec<Value> = match serde_saphyr::from_multiple(&block.text) {
        Ok(documents) => documents,
        Err(error) => return Some(format!("not YAML: {error}")),
    };
    if let Some(file) = file {
        let all: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(root.join(file)).ok()?).ok()?;
        let missing = documents.iter().find(|document| !all.contains(document));
        return missing.map(|document| format!("{file} does not have this {}", document["kind"]));
    }
    if let Some(kind) = block.note.as_deref().and_then(|note| note.strip_prefix("spec of ")) {
        return rejection(&fragment(kind, documents.first()?)?);
    }
    let is_ours = |document: &Value| document["apiVersion"].as_str().is_some_and(|version| version.starts_with(GROUP));
    let (ours, others): (Vec<Value>, Vec<Value>) = documents.into_iter().partition(is_ours);
    if !others.is_empty() && block.noted("not run").is_none_or(|reason| reason.len() <= 10) {
        return Some(
            "write above it <!-- part of: FILE -->, <!-- spec of KIND --> or <!-- not run: REASON -->".to_owned(),
        );
    }
    if ours.is_empty() { None } else { rejection(&ours) }
}

fn object(kind: &str, spec: &Value) -> Value {
    let metadata = json!({ "name": kind.to_lowercase(), "namespace": "openperouter-system" });
    json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": kind, "metadata": metadata, "spec": spec })
}

/// The required fields of a kind.
fn base(kind: &str) -> Option<Value> {
    match kind {
        "Underlay" => Some(json!({ "asn": 64514, "vtepcidr": "100.65.0.0/24", "nics": ["toswitch"],
            "neighbors": [{ "address": "192.168.11.2", "asn": 64512 }] })),
        "L3VNI" => Some(json!({ "asn": 64514, "vni": 100, "hostasn": 64515, "vrf": "red",
            "localcidr": { "ipv4": "192.169.10.0/24" } })),
        "L2VNI" => Some(json!({ "vni": 110 })),
        _ => None,
    }
}

/// An object with the required fields and those of a fragment.
fn fragment(kind: &str, fields: &Value) -> Option<Vec<Value>> {
    let mut spec = base(kind)?;
    for (field, value) in fields.as_object()? {
        spec[field] = value.clone();
    }
    Some(vec![object(kind, &spec)])
}

/// What `perouter validate` says of objects, with an Underlay if they have none. Passwords exist.
fn rejection(objects: &[Value]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut objects = objects.to_vec();
    if !objects.iter().any(|object| object["kind"] == "Underlay") {
        objects.extend(base("Underlay").map(|spec| object("Underlay", &spec)));
    }
    for object in &objects {
        write_secrets(object, folder.path());
    }
    for (place, object) in objects.iter().enumerate() {
        fs::write(folder.path().join(format!("{place}.json")), object.to_string()).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_perouter")).arg("validate").arg(folder.path()).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn write_secrets(value: &Value, folder: &Path) {
    if let (Some(name), Some(key)) = (value["passwordSecret"]["name"].as_str(), value["passwordSecret"]["key"].as_str())
    {
        let secret = folder.join("secrets").join(name);
        fs::create_dir_all(&secret).unwrap();
        fs::write(secret.join(key), "secret").unwrap();
        fs::set_permissions(secret.join(key), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|value| write_secrets(value, folder)),
        Value::Array(items) => items.iter().for_each(|value| write_secrets(value, folder)),
        _ => {}
    }
}

/// Each line of an excerpt is a line of the file, in its order.
fn excerpt(root: &Path, text: &str, file: &str) -> Option<String> {
    let Ok(whole) = fs::read_to_string(root.join(file)) else { return Some(format!("there is no {file}")) };
    let mut lines = whole.lines().map(str::trim_end);
    let wanted = text.lines().map(str::trim_end).filter(|line| !line.trim_matches(['!', ' ']).is_empty());
    let missing = wanted.into_iter().find(|line| !lines.any(|other| other == *line));
    missing.map(|line| format!("{file} does not have, at this place: {line}"))
}
