//! A cluster of lab nodes: a control plane on the first of them, and what installs itself as a user would install it.
//!
//! In: nodes of a lab, and programs in place of images. Out: a [`Cluster`] whose Pods are played. It must not apply anything
//! but the manifests of `deploy/` and of `MetalLB`'s release: what a user writes is for the caller to apply.

use serde_json::Value;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kubelet::{Kubelet, Member, Programs, fed};
use super::pod::Pod;
use super::proxy::Proxy;
use super::{Assets, ControlPlane, Kubectl, KubernetesError, Options, Place, at};
use crate::node::Node;
use crate::wait;
use crate::wiring;

/// Controllers of kube-controller-manager that Pods, endpoints and clean-up need.
const CONTROLLERS: [&str; 6] = [
    "deployment-controller",
    "replicaset-controller",
    "daemonset-controller",
    "endpointslice-controller",
    "serviceaccount-controller",
    "garbage-collector-controller",
];

/// Nobody would take away the taint of a Node that is not ready yet.
const ADMISSION: &str = "--disable-admission-plugins=TaintNodesByCondition";

/// Two busy cores take their time.
const RUNNING: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_millis(300);

/// A cluster of lab nodes.
#[derive(Debug)]
pub struct Cluster {
    plane: ControlPlane,
    kubelet: Kubelet,
    proxy: Proxy,
    root: PathBuf,
    metallb: Option<Assets>,
}

impl Cluster {
    /// Connects the nodes by a management network, starts the control plane on the first, registers all as Nodes.
    pub fn start(root: &Path, nodes: &[&Node], programs: Programs) -> Result<Self, KubernetesError> {
        let assets = Assets::control_plane(root)?;
        let first = nodes.first().ok_or_else(|| KubernetesError::NoNode { name: "of a control plane".into() })?;
        let addresses = wiring::manage(nodes)?;
        let members: Vec<Member> = nodes
            .iter()
            .zip(&addresses)
            .map(|(node, address)| Member { node: (*node).clone(), address: *address })
            .collect();
        let options = Options {
            place: Place::Node { node: (*first).clone(), address: members[0].address },
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

    /// Scheduler and kubelet.
    pub fn kubelet(&mut self) -> &mut Kubelet {
        &mut self.kubelet
    }

    /// `kubectl apply -k deploy/`, and the Pods of it running on every node.
    pub fn install_router(&mut self) -> Result<(), KubernetesError> {
        let folder = self.root.join("deploy");
        self.kubectl().check(&["apply", "--server-side", "-k", &folder.to_string_lossy()])?;
        self.established()?;
        self.await_pods("openperouter-system", &["router", "controller"])
    }

    /// `MetalLB`'s manifest of the release with FRR-K8s but for the webhooks and what [`widen`] corrects, and the Pods of
    /// it running.
    pub fn install_metallb(&mut self) -> Result<(), KubernetesError> {
        let assets = self.metallb.as_ref().ok_or_else(|| KubernetesError::NoAssets { reason: "no MetalLB".into() })?;
        let path = assets.program("metallb-frr-k8s.yaml");
        let text = fs::read_to_string(&path).map_err(at(&path))?;
        let mut documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).map_err(|source| KubernetesError::Yaml(Box::new(source)))?;
        documents.retain(|document| !is_webhook(document));
        documents.iter_mut().for_each(widen);
        fed(&self.kubectl(), &["apply", "--server-side", "-f", "-"], &documents)?;
        self.established()?;
        self.await_pods("metallb-system", &["speaker", "frr-k8s-daemon"])
    }

    /// Plays scheduler, kubelet and kube-proxy once: what the API server lists now is brought about.
    pub fn play(&mut self) -> Result<(), KubernetesError> {
        let text = self.kubectl().check(&["get", "pods,services,endpointslices", "--all-namespaces", "-o", "json"])?;
        let list: Value = serde_json::from_str(&text).map_err(KubernetesError::Answer)?;
        let objects = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        let pods = objects.iter().filter(|object| object["kind"] == "Pod").map(Pod::read).collect::<Result<_, _>>()?;
        self.kubelet.sync(&self.plane, pods)?;
        self.proxy.sync(self.kubelet.members(), objects)?;
        self.kubelet.all_alive()
    }

    /// Plays until a condition holds.
    pub fn play_until(&mut self, what: &str, mut probe: impl FnMut(&mut Self) -> bool) -> Result<(), KubernetesError> {
        let waited = wait::until(what, RUNNING, PROBE, || {
            if let Err(error) = self.play() {
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

    /// Plays until every node runs a Pod of each of these sets.
    fn await_pods(&mut self, namespace: &str, sets: &[&str]) -> Result<(), KubernetesError> {
        let wanted = sets.len() * self.kubelet.members().len();
        let what = format!("Pods of {} in {namespace}", sets.join(" and "));
        self.play_until(&what, |cluster| {
            let ours = |pod: &&Pod| pod.namespace == namespace && sets.contains(&pod.set());
            cluster.kubelet.running().filter(ours).count() >= wanted
        })
    }

    fn list_pods(&self) -> String {
        let output = self.kubectl().run(&["get", "pods", "--all-namespaces"]);
        output.map_or_else(|error| error.to_string(), |output| output.stdout + &output.stderr)
    }

    fn established(&self) -> Result<(), KubernetesError> {
        self.kubectl().check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=25s"]).map(drop)
    }
}

/// The API server cannot reach a webhook, so there is none, nor its server.
fn is_webhook(document: &Value) -> bool {
    let server = document["kind"] == "Deployment" && document["metadata"]["name"] == "frr-k8s-webhook-server";
    server || document["kind"] == "ValidatingWebhookConfiguration"
}

/// Says int64 of the AS numbers, as later releases of `MetalLB` do: Kubernetes 1.37 refuses every object of a schema that
/// has an int32 with a greater maximum.
fn widen(document: &mut Value) {
    match document {
        Value::Object(fields) => {
            let too_great =
                fields.get("maximum").and_then(Value::as_i64).is_some_and(|most| i32::try_from(most).is_err());
            match fields.get_mut("format") {
                Some(format) if too_great && format == "int32" => *format = "int64".into(),
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
    fn only_an_int32_with_too_great_a_maximum_is_widened() {
        let port = json!({"format": "int32", "maximum": 16384});
        let mut schema = json!({"properties": [{"format": "int32", "maximum": 4_294_967_295_u32}, port]});
        widen(&mut schema);
        assert_eq!(schema, json!({"properties": [{"format": "int64", "maximum": 4_294_967_295_u32}, port]}));
    }
}
