//! Snapshots for the targets that plan: of YAML, and as the file that a controller keeps of the last one.

use std::sync::OnceLock;

use perouter::snapshot::{NodeIdentity, Object, Snapshot};
use perouter::source::kube::disk_cache;
use perouter::source::secret::password;
use perouter::source::{Schemas, document, yaml};
use perouter::types::Secret;

/// The compiled schemas. `None`: they do not compile, which the tests of perouter exclude.
pub fn schemas() -> Option<&'static Schemas> {
    static SCHEMAS: OnceLock<Option<Schemas>> = OnceLock::new();
    SCHEMAS.get_or_init(|| Schemas::new().ok()).as_ref()
}

/// The objects of a file; every password is there.
pub fn of_yaml(text: &str, index: u32) -> Snapshot {
    let node = NodeIdentity { name: "node".to_owned(), index, labels: [("rack".to_owned(), "a".to_owned())].into() };
    let mut snapshot = Snapshot { node, ..Snapshot::default() };
    let Some(schemas) = schemas() else { return snapshot };
    // For YAML a carriage return alone ends a line too.
    let lines = u64::try_from(text.split(['\n', '\r']).count()).unwrap_or(u64::MAX);
    let mut left = document::ReadLimits::of_file(text.len());
    for (before, part) in yaml::split_documents(text) {
        for document in document::read(part, document::Notation::Yaml, schemas, &mut left) {
            let at = |line: u64| assert!(line >= 1 && before + line <= lines, "line {before} + {line} of {lines}");
            at(document.line);
            match document.spec {
                Ok(spec) => {
                    snapshot.objects.insert(document.object, Object::new(spec));
                }
                Err(errors) => {
                    assert!(!errors.is_empty(), "invalid, and nothing says why");
                    for error in &errors {
                        at(error.line);
                    }
                }
            }
        }
    }
    let keys: Vec<_> = snapshot.secret_keys().collect();
    snapshot.secrets.extend(keys.into_iter().map(|key| (key, Ok(Secret::new("hunter2".to_owned())))));
    snapshot
}

/// Whether a source would deliver it: all objects are valid by schema and CEL rules, all passwords usable.
pub fn is_valid(snapshot: &Snapshot) -> bool {
    let Some(schemas) = schemas() else { return false };
    let objects = snapshot.objects.iter().all(|(object, found)| {
        let Ok(spec) = found.spec.to_json() else { return false };
        let metadata = serde_json::json!({"name": object.name, "namespace": object.namespace});
        schemas.validate(object.kind, &serde_json::json!({"metadata": metadata, "spec": spec})).is_ok()
    });
    let usable = |secret: &Secret| password(secret.expose().as_bytes()).is_ok();
    objects && snapshot.secrets.values().flatten().all(usable)
}

/// The golden cases and examples as the file of the last snapshot.
pub fn seeds() -> Vec<Vec<u8>> {
    let files = files_of_objects();
    let texts = files.iter().map(|bytes| String::from_utf8_lossy(bytes));
    texts.filter_map(|text| disk_cache::content(&of_yaml(&text, 1)).ok()).collect()
}

/// The YAML of the golden cases and examples.
pub fn files_of_objects() -> Vec<Vec<u8>> {
    let golden = crate::files_named("tests/golden", "in.yaml");
    golden.into_iter().chain(crate::files_named("examples", "openpe.yaml")).collect()
}
