use std::fs;
use std::path::Path;

use super::*;

#[test]
fn the_files_follow_from_the_types() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let rewrite = std::env::var_os("PEROUTER_UPDATE").is_some_and(|v| v == "1");
    for (name, text) in crds().unwrap() {
        let path = dir.join(name);
        if rewrite {
            fs::create_dir_all(&dir).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap();
        assert!(there == text, "{} does not follow from the types: run make crds", path.display());
    }
}

#[test]
fn derived_names_match_those_of_requests_and_roles() {
    for kind in Kind::ALL {
        let definition = definition(Definition::Configuration(*kind)).unwrap();
        assert_eq!(definition["spec"]["names"]["kind"], kind.as_str());
        assert_eq!(definition["spec"]["names"]["plural"], kind.plural());
        assert_eq!(Kind::named(kind.as_str()), Some(*kind));
    }
}

/// The files of a directory that `kustomization.yaml` names.
fn kustomized(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("kustomization.yaml")).unwrap();
    let value: Value = serde_saphyr::from_str(&text).unwrap();
    value["resources"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn kustomize_and_the_chart_include_every_definition() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names: Vec<String> = crds().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(kustomized(&root.join("crds")), names);
    for name in names {
        let definition = fs::read_to_string(root.join("crds").join(&name)).unwrap();
        let plural = name.rsplit('_').next().unwrap();
        let chart = root.join("deploy/helm/perouter/templates").join(format!("crd-{plural}"));
        let template = fs::read_to_string(&chart).unwrap_or_default();
        // What the chart adds is above the spec.
        let spec = |text: &str| text.split_once("\nspec:").map(|(_, spec)| spec.to_owned());
        let same = spec(&template) == spec(&format!("{definition}{{{{- end }}}}\n"));
        assert!(same, "{} differs: run hack/helm.sh", chart.display());
    }
}

/// The controller may list and watch every kind, and no other of the group.
#[test]
fn the_role_of_the_controller_names_every_kind() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("deploy/base/rbac.yaml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let role = documents.iter().find(|document| document["kind"] == "Role").unwrap();
    let ours = |rule: &&Value| rule["apiGroups"][0] == GROUP;
    let rules: Vec<&Value> = role["rules"].as_array().unwrap().iter().filter(ours).collect();
    let plurals: Vec<String> = Kind::ALL.iter().map(|kind| kind.plural()).collect();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0]["resources"], Value::from(plurals));
    assert_eq!(rules[0]["verbs"], Value::from(vec!["list", "watch"]));
}
