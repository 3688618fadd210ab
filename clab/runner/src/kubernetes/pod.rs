//! The fields of Pods that a kubelet needs.
//!
//! In: Pods as the API server lists them. Out: the Node of a Pod, environment and command lines of its containers. It must
//! not start anything, and an environment variable with an unsupported source is an error: the process would behave
//! differently without it.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::error::KubernetesError;
use crate::image::without_tag;

/// A Pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The Node that it is bound to.
    pub node: Option<String>,
    /// The only Node where it may run, for Pods of a `DaemonSet`.
    pub required_node: Option<String>,
    /// The service account whose token is mounted, if any.
    pub account: Option<String>,
    /// Whether it uses the Node's network.
    pub host_network: bool,
    /// Whether it is being deleted.
    pub deleted: bool,
    /// `status.phase`.
    pub phase: String,
    /// `spec` as the API server returns it.
    pub spec: Value,
    /// Its init containers.
    pub init_containers: Vec<Container>,
    /// Its containers.
    pub containers: Vec<Container>,
}

/// A container of a Pod.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Replaces the image's entry point.
    #[serde(default)]
    pub command: Vec<String>,
    /// Arguments of the command or of the entry point.
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    env: Vec<Variable>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Variable {
    name: String,
    value: Option<String>,
    value_from: Option<Value>,
}

#[derive(Deserialize)]
struct PodObject {
    metadata: PodMetadata,
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodMetadata {
    namespace: String,
    name: String,
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<String>,
    service_account_name: Option<String>,
    automount_service_account_token: Option<bool>,
    #[serde(default)]
    host_network: bool,
    #[serde(default)]
    affinity: Value,
    #[serde(default)]
    init_containers: Vec<Container>,
    containers: Vec<Container>,
}

#[derive(Deserialize, Default)]
struct PodStatus {
    #[serde(default)]
    phase: String,
}

/// Where the `DaemonSet` controller puts the Node of a Pod.
const REQUIRED_NODE: &str =
    "/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";

impl Pod {
    /// Reads a Pod from the output of `kubectl get -o json`.
    pub fn read(object: &Value) -> Result<Self, KubernetesError> {
        let raw = object["spec"].clone();
        let object: PodObject = serde::Deserialize::deserialize(object).map_err(KubernetesError::Pod)?;
        let (metadata, spec) = (object.metadata, object.spec);
        let mounted = spec.automount_service_account_token != Some(false);
        Ok(Self {
            namespace: metadata.namespace,
            name: metadata.name,
            deleted: metadata.deletion_timestamp.is_some(),
            required_node: spec.affinity.pointer(REQUIRED_NODE).and_then(Value::as_str).map(str::to_owned),
            node: spec.node_name,
            account: spec.service_account_name.filter(|_| mounted),
            host_network: spec.host_network,
            phase: object.status.phase,
            spec: raw,
            init_containers: spec.init_containers,
            containers: spec.containers,
        })
    }

    /// Name of the workload that it belongs to: its own name without the last part.
    pub fn workload(&self) -> &str {
        self.name.rsplit_once('-').map_or(&self.name, |(workload, _)| workload)
    }

    /// A field of the Pod by its path; the caller provides the addresses of the Pod and of its node.
    pub fn field(&self, path: &str, own: IpAddr, node: IpAddr) -> Option<String> {
        match path {
            "metadata.namespace" => Some(self.namespace.clone()),
            "metadata.name" => Some(self.name.clone()),
            "spec.nodeName" => self.node.clone(),
            "status.podIP" => Some(own.to_string()),
            "status.hostIP" => Some(node.to_string()),
            _ => None,
        }
    }

    /// The environment of a container; the caller provides the addresses of the Pod and of its node. A variable may use those
    /// before it.
    pub fn environment(
        &self,
        container: &Container,
        own: IpAddr,
        node: IpAddr,
    ) -> Result<BTreeMap<String, String>, KubernetesError> {
        let mut all = BTreeMap::new();
        for variable in &container.env {
            let value = match (&variable.value, &variable.value_from) {
                (value, None) => Some(expanded(value.as_deref().unwrap_or_default(), &all)),
                (_, Some(from)) => {
                    let path = from.pointer("/fieldRef/fieldPath").and_then(Value::as_str);
                    path.and_then(|path| self.field(path, own, node))
                }
            };
            let unknown = || KubernetesError::Variable {
                pod: self.name.clone(),
                container: container.name.clone(),
                variable: variable.name.clone(),
            };
            all.insert(variable.name.clone(), value.ok_or_else(unknown)?);
        }
        Ok(all)
    }
}

/// Replaces `$(NAME)` by the value of each variable.
pub(super) fn expanded(text: &str, environment: &BTreeMap<String, String>) -> String {
    let variables = environment.iter();
    variables.fold(text.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
}

impl Container {
    /// The image without tag and digest.
    pub fn repository(&self) -> &str {
        without_tag(&self.image)
    }

    /// Its command line: the command, or the image's entry point, then the arguments, with `$(NAME)` expanded.
    pub fn command_line(&self, entry_point: &str, environment: &BTreeMap<String, String>) -> Vec<String> {
        let entry_point = [entry_point.to_owned()];
        let command = if self.command.is_empty() { &entry_point[..] } else { &self.command };
        command.iter().chain(&self.args).map(|word| expanded(word, environment)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = r#"
metadata: {namespace: metallb-system, name: speaker-x1y2z}
spec:
  serviceAccountName: speaker
  hostNetwork: true
  nodeName: worker
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
          - matchFields: [{key: metadata.name, operator: In, values: [worker]}]
  containers:
    - name: speaker
      image: quay.io/metallb/speaker:v1
      args: ["--node-name=$(NODE_NAME)", --log-level=info]
      env:
        - {name: METALLB_BGP_TYPE, value: frr-k8s}
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        - {name: METALLB_HOST, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
status: {phase: Pending}
"#;
    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 20, 20, 3));

    fn pod(text: &str) -> Pod {
        Pod::read(&perouter::source::yaml::parse(text).unwrap()[0].to_value()).unwrap()
    }

    #[test]
    fn a_pod_has_its_node_and_the_command_lines_of_its_containers() {
        let pod = pod(POD);
        assert_eq!(
            (pod.required_node.as_deref(), pod.workload(), pod.account.as_deref()),
            (Some("worker"), "speaker", Some("speaker"))
        );
        let container = &pod.containers[0];
        let environment = pod.environment(container, ADDRESS, ADDRESS).unwrap();
        let wanted = [("METALLB_BGP_TYPE", "frr-k8s"), ("METALLB_HOST", "172.20.20.3"), ("NODE_NAME", "worker")];
        assert!(environment.iter().map(|(name, value)| (&**name, &**value)).eq(wanted), "{environment:?}");
        assert_eq!(
            container.command_line("/speaker", &environment),
            ["/speaker", "--node-name=worker", "--log-level=info"]
        );
        assert_eq!(container.repository(), "quay.io/metallb/speaker");
    }

    #[test]
    fn a_variable_from_an_unsupported_source_is_an_error() {
        let pod = pod(&POD.replace("{fieldRef: {fieldPath: status.hostIP}}", "{secretKeyRef: {name: a, key: b}}"));
        let error = pod.environment(&pod.containers[0], ADDRESS, ADDRESS).unwrap_err().to_string();
        assert_eq!(error, "Pod speaker-x1y2z: container speaker: the source of METALLB_HOST is not supported");
    }

    #[test]
    fn a_variable_may_use_those_before_it() {
        let from = "        - {name: METALLB_HOST, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}\n";
        let pod =
            pod(&POD.replace(from, &format!("{from}        - {{name: URL, value: \"http://$(METALLB_HOST):1\"}}\n")));
        let environment = pod.environment(&pod.containers[0], ADDRESS, ADDRESS).unwrap();
        assert_eq!(environment["URL"], "http://172.20.20.3:1");
    }

    #[test]
    fn a_pod_without_token_has_no_account() {
        let text = POD.replace("  hostNetwork: true\n", "  automountServiceAccountToken: false\n");
        assert_eq!(pod(&text).account, None);
    }
}
