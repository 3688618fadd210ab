//! The rights that the roles of `deploy/base/rbac.yaml` grant, as text.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

/// `VERB group/resource in SCOPE`.
pub(crate) type Right = String;

/// The rights that the roles of `deploy/base/rbac.yaml` grant.
pub(crate) fn granted() -> BTreeSet<Right> {
    let text = fs::read_to_string("deploy/base/rbac.yaml").unwrap();
    let mut rights = BTreeSet::new();
    for document in text.split("\n---\n") {
        let role: Value = serde_saphyr::from_str(document).unwrap();
        let scope = role["metadata"]["namespace"].as_str().unwrap_or_default();
        for rule in role["rules"].as_array().into_iter().flatten() {
            let strings = |field: &str| -> Vec<String> { serde_json::from_value(rule[field].clone()).unwrap() };
            assert_eq!(rule.as_object().unwrap().len(), 3, "{rule}");
            for group in strings("apiGroups") {
                for resource in strings("resources") {
                    rights.extend(strings("verbs").iter().map(|verb| right(verb, &group, &resource, scope)));
                }
            }
        }
    }
    rights
}

pub(crate) fn right(verb: &str, group: &str, resource: &str, namespace: &str) -> Right {
    let scope = if namespace.is_empty() { "the cluster" } else { namespace };
    format!("{verb} {group}/{resource} in {scope}")
}
