//! A cluster of lab nodes: a control plane on the first of them, and the components that a user would install.
//!
//! In: nodes of a lab, images, and programs in place of images. Out: a [`LabCluster`] whose Pods are containers or processes. It must not
//! apply anything but the manifests of `deploy/` and of `MetalLB`'s release: the caller applies a user's objects.

use perouter::source::yaml::{self, YamlNode};
use serde_json::Value;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::assets::Assets;
use super::control_plane::{ControlPlane, Options};
use super::error::{KubernetesError, at};
use super::kubectl::Kubectl;
use super::kubelet::{Kubelet, Member, send_list};
use super::placement::Placement;
use super::pod::Pod;
use super::programs::Programs;
use super::proxy::Proxy;
use crate::node::Node;
use crate::wait;
use crate::wiring;

/// Controllers of kube-controller-manager that Pods, endpoints and clean-up need.
const CONTROLLERS: [&str; 7] = [
    "deployment-controller",
    "replicaset-controller",
    "daemonset-controller",
    "endpointslice-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "garbage-collector-controller",
];

/// The controller that removes the taint of a Node that becomes ready does not run.
const ADMISSION: &str = "--disable-admission-plugins=TaintNodesByCondition";

/// Long, for a machine with two busy cores.
const SYNC_TIMEOUT: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_millis(300);

/// A cluster of lab nodes.
#[derive(Debug)]
pub struct LabCluster {
    plane: ControlPlane,
    kubelet: Kubelet,
    proxy: Proxy,
    root: PathBuf,
    metallb: Option<Assets>,
}

impl LabCluster {
    /// Connects the nodes by a management network, starts the control plane on the first and registers all as Nodes.
    pub fn start(root: &Path, nodes: &[&Node], programs: Programs) -> Result<Self, KubernetesError> {
        let assets = Assets::control_plane(root)?;
        let first = nodes.first().ok_or_else(|| KubernetesError::NoNode { name: "for the control plane".into() })?;
        let addresses = wiring::management_network(nodes)?;
        let members: Vec<Member> = nodes
            .iter()
            .zip(&addresses)
            .map(|(node, address)| Member { node: (*node).clone(), address: *address })
            .collect();
        let options = Options {
            placement: Placement::Node { node: (*first).clone(), address: members[0].address },
            api_server: vec![ADMISSION.to_owned()],
            controllers: CONTROLLERS.map(ToOwned::to_owned).to_vec(),
        };
        let plane = ControlPlane::start(assets, options)?;
        let (proxy, metallb) = (Proxy::new(programs.lab.clone()), programs.metallb.clone());
        let kubelet = Kubelet::new(members, programs);
        kubelet.register(&plane.kubectl())?;
        Ok(Self { plane, kubelet, proxy, root: root.to_owned(), metallb })
    }

    /// kubectl of the administrator.
    pub fn kubectl(&self) -> Kubectl {
        self.plane.kubectl()
    }

    /// The control plane.
    pub fn control_plane(&mut self) -> &mut ControlPlane {
        &mut self.plane
    }

    /// The fake scheduler and kubelet.
    pub fn kubelet(&mut self) -> &mut Kubelet {
        &mut self.kubelet
    }

    /// `kubectl apply -k deploy/`; returns when its Pods run on every node.
    pub fn install_router(&mut self) -> Result<(), KubernetesError> {
        let folder = self.root.join("deploy");
        self.kubectl().check(&["apply", "--server-side", "-k", &folder.to_string_lossy()])?;
        self.await_crds()?;
        self.await_pods("openperouter-system", &["router", "controller"])
    }

    /// Applies the manifest of `MetalLB`'s release with FRR-K8s, without webhooks and corrected by `widen`; returns when
    /// its Pods run.
    pub fn install_metallb(&mut self) -> Result<(), KubernetesError> {
        let assets = self.metallb.as_ref().ok_or_else(|| KubernetesError::NoAssets { reason: "no MetalLB".into() })?;
        let path = assets.program("metallb-frr-k8s.yaml");
        let text = fs::read_to_string(&path).map_err(at(&path))?;
        let documents = yaml::parse(&text).map_err(|source| KubernetesError::Yaml { path, source })?;
        let mut documents: Vec<Value> = documents.iter().map(YamlNode::to_value).collect();
        documents.retain(|document| !is_webhook(document));
        documents.iter_mut().for_each(widen);
        send_list(&self.kubectl(), &["apply", "--server-side", "-f", "-"], &documents)?;
        self.await_crds()?;
        self.await_pods("metallb-system", &["speaker", "frr-k8s-daemon"])
    }

    /// Runs the fake scheduler, kubelet and kube-proxy once for the objects that the API server lists now.
    pub fn sync(&mut self) -> Result<(), KubernetesError> {
        let text = self.kubectl().check(&["get", "pods,services,endpointslices", "--all-namespaces", "-o", "json"])?;
        let list: Value = serde_json::from_str(&text).map_err(KubernetesError::Json)?;
        let objects = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        let pods = objects.iter().filter(|object| object["kind"] == "Pod").map(Pod::read).collect::<Result<_, _>>()?;
        self.kubelet.sync(&self.plane, pods)?;
        self.proxy.sync(self.kubelet.members(), objects)?;
        self.kubelet.all_alive()
    }

    /// Repeats [`LabCluster::sync`] until a condition is true.
    pub fn sync_until(&mut self, what: &str, mut probe: impl FnMut(&mut Self) -> bool) -> Result<(), KubernetesError> {
        let waited = wait::until(what, SYNC_TIMEOUT, PROBE, || {
            if let Err(error) = self.sync() {
                return Some(Err(error));
            }
            probe(self).then_some(Ok(()))
        });
        waited.unwrap_or_else(|waited| Err(KubernetesError::NotReady { waited, last: self.list_pods() }))
    }

    /// Whether every node answers at the address of a service.
    pub fn serves(&self, address: IpAddr) -> bool {
        self.proxy.serves(address)
    }

    /// Syncs until every node runs a Pod of each of these workloads.
    fn await_pods(&mut self, namespace: &str, workloads: &[&str]) -> Result<(), KubernetesError> {
        let wanted = workloads.len() * self.kubelet.members().len();
        let what = format!("Pods of {} in {namespace}", workloads.join(" and "));
        self.sync_until(&what, |cluster| {
            let ours = |pod: &&Pod| pod.namespace == namespace && workloads.contains(&pod.workload());
            cluster.kubelet.running().filter(ours).count() >= wanted
        })
    }

    fn list_pods(&self) -> String {
        let output = self.kubectl().run(&["get", "pods", "--all-namespaces"]);
        output.map_or_else(|error| error.to_string(), |output| output.stdout + &output.stderr)
    }

    fn await_crds(&self) -> Result<(), KubernetesError> {
        self.kubectl().check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=25s"]).map(drop)
    }
}

/// Webhooks and their server: the API server could not reach them, so they are not installed.
fn is_webhook(document: &Value) -> bool {
    let server = document["kind"] == "Deployment" && document["metadata"]["name"] == "frr-k8s-webhook-server";
    server || document["kind"] == "ValidatingWebhookConfiguration"
}

/// Changes the format of AS numbers to int64, as later releases of `MetalLB` do: Kubernetes 1.37 rejects every object of a
/// schema that has an int32 with a greater maximum.
fn widen(document: &mut Value) {
    match document {
        Value::Object(fields) => {
            let too_large =
                fields.get("maximum").and_then(Value::as_i64).is_some_and(|most| i32::try_from(most).is_err());
            match fields.get_mut("format") {
                Some(format) if too_large && format == "int32" => *format = "int64".into(),
                _ => {}
            }
            fields.values_mut().for_each(widen);
        }
        Value::Array(items) => items.iter_mut().for_each(widen),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_an_int32_with_too_large_a_maximum_is_widened() {
        let port = json!({"format": "int32", "maximum": 16384});
        let mut schema = json!({"properties": [{"format": "int32", "maximum": 4_294_967_295_u32}, port]});
        widen(&mut schema);
        assert_eq!(schema, json!({"properties": [{"format": "int64", "maximum": 4_294_967_295_u32}, port]}));
    }
}
