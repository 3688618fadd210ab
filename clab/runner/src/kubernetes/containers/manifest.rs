//! The fields of a Pod that decide how its containers run.
//!
//! In: the spec of a Pod. Out: [`PodManifest`]. It must not accept a field that has an effect and is not implemented.

use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;

use crate::kubernetes::error::KubernetesError;

/// The spec of a Pod.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodManifest {
    #[serde(default)]
    pub(super) host_network: bool,
    #[serde(default = "thirty")]
    pub(super) termination_grace_period_seconds: u64,
    #[serde(default)]
    pub(super) volumes: Vec<Volume>,
    #[serde(default)]
    pub(super) init_containers: Vec<ContainerManifest>,
    pub(super) containers: Vec<ContainerManifest>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ContainerManifest {
    pub(super) name: String,
    pub(super) image: String,
    #[serde(default)]
    pub(super) command: Vec<String>,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) security_context: SecurityContext,
    #[serde(default)]
    pub(super) volume_mounts: Vec<VolumeMount>,
    #[serde(default)]
    pub(super) resources: Resources,
    pub(super) startup_probe: Option<Probe>,
    pub(super) liveness_probe: Option<Probe>,
    pub(super) readiness_probe: Option<Probe>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SecurityContext {
    #[serde(default)]
    pub(super) privileged: bool,
    #[serde(default)]
    pub(super) read_only_root_filesystem: bool,
    pub(super) allow_privilege_escalation: Option<bool>,
    #[serde(default)]
    pub(super) capabilities: CapabilityChanges,
    #[serde(default)]
    pub(super) run_as_user: u32,
    #[serde(default)]
    pub(super) run_as_group: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CapabilityChanges {
    #[serde(default)]
    pub(super) add: Vec<String>,
    #[serde(default)]
    pub(super) drop: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct VolumeMount {
    pub(super) name: String,
    pub(super) mount_path: PathBuf,
    #[serde(default)]
    pub(super) read_only: bool,
    #[serde(default)]
    pub(super) mount_propagation: Propagation,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Propagation {
    #[default]
    None,
    HostToContainer,
    Bidirectional,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resources {
    #[serde(default)]
    pub(super) requests: Quantities,
    #[serde(default)]
    pub(super) limits: Quantities,
}

/// Quantities as in the manifest: `50m`, `128Mi`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quantities {
    pub(super) cpu: Option<String>,
    pub(super) memory: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Probe {
    pub(super) http_get: HttpGet,
    #[serde(default)]
    pub(super) initial_delay_seconds: u64,
    #[serde(default = "ten")]
    pub(super) period_seconds: u64,
    #[serde(default = "one")]
    pub(super) timeout_seconds: u64,
    #[serde(default = "one_time")]
    pub(super) success_threshold: u32,
    #[serde(default = "three_times")]
    pub(super) failure_threshold: u32,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HttpGet {
    /// The address of the Pod if it is missing.
    pub(super) host: Option<String>,
    pub(super) port: u16,
    pub(super) path: String,
    #[serde(default)]
    pub(super) scheme: Scheme,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Scheme {
    #[default]
    #[serde(rename = "HTTP")]
    Http,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) host_path: Option<HostPath>,
    pub(super) projected: Option<Projected>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostPath {
    pub(super) path: PathBuf,
    #[serde(rename = "type")]
    pub(super) kind: HostPathType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum HostPathType {
    DirectoryOrCreate,
    Directory,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Projected {
    pub(super) default_mode: u32,
    pub(super) sources: Vec<ProjectedSource>,
}

/// One source of a projected volume, those that the API server adds for the account.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ProjectedSource {
    #[serde(rename_all = "camelCase")]
    ServiceAccountToken {
        expiration_seconds: u64,
        path: PathBuf,
    },
    ConfigMap {
        name: String,
        items: Vec<KeyPath>,
    },
    #[serde(rename = "downwardAPI")]
    DownwardApi {
        items: Vec<FieldPath>,
    },
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyPath {
    pub(super) key: String,
    pub(super) path: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FieldPath {
    pub(super) path: PathBuf,
    pub(super) field_ref: Value,
}

const fn thirty() -> u64 {
    30
}

const fn ten() -> u64 {
    10
}

const fn one() -> u64 {
    1
}

const fn one_time() -> u32 {
    1
}

const fn three_times() -> u32 {
    3
}

/// Fields of a Pod that do not change how its containers run: scheduling, the account, DNS of Pods that look up no names.
const ELSEWHERE: [&str; 15] = [
    "affinity",
    "automountServiceAccountToken",
    "dnsPolicy",
    "enableServiceLinks",
    "nodeName",
    "nodeSelector",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "restartPolicy",
    "schedulerName",
    "serviceAccount",
    "serviceAccountName",
    "tolerations",
    "topologySpreadConstraints",
];

/// Fields of a container that do not change how it runs, and `env`, which `Pod::environment` reads.
const ELSEWHERE_IN_CONTAINER: [&str; 5] =
    ["env", "imagePullPolicy", "ports", "terminationMessagePath", "terminationMessagePolicy"];

impl PodManifest {
    /// Reads the spec of a Pod.
    pub fn read(pod: &str, spec: &Value) -> Result<Self, KubernetesError> {
        let mut spec = spec.clone();
        remove(&mut spec, &ELSEWHERE);
        // An empty one is what the API server adds.
        if spec["securityContext"] == Value::Object(serde_json::Map::new()) {
            remove(&mut spec, &["securityContext"]);
        }
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                remove(container, &ELSEWHERE_IN_CONTAINER);
            }
        }
        let manifest = Self::deserialize(spec);
        manifest.map_err(|source| KubernetesError::NotImplemented { pod: pod.to_owned(), source })
    }
}

fn remove(object: &mut Value, fields: &[&str]) {
    if let Some(object) = object.as_object_mut() {
        object.retain(|name, _| !fields.contains(&&**name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: &Value) -> Result<PodManifest, String> {
        PodManifest::read("x", spec).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    }

    #[test]
    fn the_manifests_of_deploy_are_implemented() {
        for name in ["base/router", "base/controller", "removal/cleanup"] {
            let path = format!("{}/../../deploy/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let daemon_set = perouter::source::yaml::parse(&text).unwrap()[0].to_value();
            let manifest = read(&daemon_set["spec"]["template"]["spec"]).unwrap();
            assert_eq!(manifest.containers[0].image, "perouter");
        }
    }

    #[test]
    fn a_field_that_has_an_effect_and_is_not_implemented_is_an_error() {
        let container = json!({"name": "a", "image": "b"});
        let with = |field: &str, value: Value| {
            let mut container = container.clone();
            container[field] = value;
            json!({"containers": [container]})
        };
        read(&json!({"containers": [container]})).unwrap();
        read(&with("imagePullPolicy", json!("Always"))).unwrap();
        for (spec, field) in [
            (json!({"hostPID": true, "containers": []}), "hostPID"),
            (json!({"securityContext": {"fsGroup": 1}, "containers": []}), "securityContext"),
            (with("lifecycle", json!({})), "lifecycle"),
            (with("securityContext", json!({"seccompProfile": {}})), "seccompProfile"),
            (with("livenessProbe", json!({"exec": {}})), "exec"),
            (json!({"volumes": [{"name": "a", "emptyDir": {}}], "containers": []}), "emptyDir"),
        ] {
            let error = read(&spec).unwrap_err();
            assert!(error.starts_with("Pod x: ") && error.contains(field), "{field}: {error}");
        }
    }
}
