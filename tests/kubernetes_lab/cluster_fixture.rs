//! A lab with a Kubernetes cluster. In: a name. Out: [`ClusterFixture`], which removes everything when it is dropped.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use perouter::frr::show::session::SessionPhase;
use perouter::status::model::{ObjectState, Resource};
use perouter_lab::kubernetes::{Assets, ContainerImage, KubernetesError, LabCluster, Programs};
use perouter_lab::node::Node;
use serde_json::{Value, json};

use crate::lab::fabric::{CURL_TIMED_OUT, fetch};
use crate::lab::fixture::{BLUE, Fixture, NODES, RED, SETTLE, Setup, l3vni, until};
use crate::lab::router::Router;

pub const NAMESPACE: &str = "openperouter-system";
/// The containers of perouter, each in a workload of its name.
const CONTAINERS: [&str; 3] = ["router", "controller", "cleanup"];

/// A lab with a Kubernetes cluster in which perouter is installed.
pub struct ClusterFixture {
    pub cluster: LabCluster,
    pub fixture: Fixture,
}

/// The path of a file of the repository.
pub fn path(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file).to_str().unwrap().to_owned()
}

fn programs(images: BTreeMap<String, ContainerImage>) -> Result<Programs, KubernetesError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Assets::control_plane(root)?;
    let metallb = Some(Assets::metallb(root)?);
    Ok(Programs { perouter: env!("CARGO_BIN_EXE_perouter").into(), images, lab: None, metallb })
}

impl ClusterFixture {
    /// Deploys the fabric, starts the cluster, installs perouter from `deploy/`, whose Pods are processes. `None` without root or
    /// the programs.
    pub fn start(name: &str) -> Option<Self> {
        let mut lab = Self::without_router(name, &Setup::example().with_leaf_b(), BTreeMap::new())?;
        step("kubectl apply -k deploy/", || lab.cluster.install_router().unwrap());
        Some(lab)
    }

    /// The same without installing perouter; Pods of these images are containers.
    pub fn without_router(name: &str, setup: &Setup, images: BTreeMap<String, ContainerImage>) -> Option<Self> {
        let programs = match programs(images) {
            Ok(programs) => programs,
            Err(reason) => {
                eprintln!("left out: {reason}");
                assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {reason}");
                return None;
            }
        };
        let fixture = Fixture::deploy(name, &[0, 1], setup)?;
        let nodes: Vec<&Node> = NODES.iter().map(|node| fixture.node(node)).collect();
        let cluster = step("control plane", || {
            LabCluster::start(Path::new(env!("CARGO_MANIFEST_DIR")), &nodes, programs).unwrap()
        });
        Some(Self { cluster, fixture })
    }

    /// Runs kubectl, which must succeed.
    #[track_caller]
    pub fn kubectl(&self, words: &[&str]) -> String {
        self.cluster.kubectl().check(words).unwrap()
    }

    /// `kubectl apply -f -`.
    #[track_caller]
    pub fn apply(&self, documents: &str) -> String {
        self.cluster.kubectl().check_with_input(&["apply", "-f", "-"], documents).unwrap()
    }

    /// Reads an object from the API server.
    pub fn get(&self, words: &[&str]) -> Value {
        let all = [&["--namespace", NAMESPACE, "get", "-o", "json"][..], words].concat();
        serde_json::from_str(&self.kubectl(&all)).unwrap()
    }

    /// Reads the node indexes that the nodes have claimed, and sorts routers and hosts by them.
    pub fn read_indexes(&mut self) {
        let Fixture { routers, hosts, .. } = &mut self.fixture;
        for router in routers.iter_mut() {
            router.index = router.await_status("an index", |status| status.vtep.map(|_| status.index));
        }
        routers.sort_by_key(|router| router.index);
        hosts.sort_by_key(|host| routers.iter().position(|router| router.node.name() == host.node().name()));
    }

    /// Applies the example of `MetalLB`, and waits for its services.
    pub fn apply_example(&mut self) {
        self.kubectl(&["apply", "-f", &path("examples/metallb")]);
        self.read_indexes();
        self.await_services();
        self.await_routes();
    }

    /// Waits until both services have an address and endpoints.
    pub fn await_services(&mut self) {
        let addresses: [IpAddr; 2] = [RED, BLUE].map(|address| address.parse().unwrap());
        let all = |cluster: &mut LabCluster| addresses.iter().all(|address| cluster.serves(*address));
        self.cluster.sync_until("addresses of both services", all).unwrap();
    }

    /// Waits for the routes of both services on leafA.
    pub fn await_routes(&self) {
        for (address, vni) in [(RED, 100), (BLUE, 200)] {
            self.fixture.await_type5(&format!("{address}/32"), vni);
        }
    }

    pub fn services_are_reachable_only_from_their_vrf(&self) {
        for (host, address, reachable) in [
            ("hostA_red", RED, true),
            ("hostB_red", RED, true),
            ("hostA_blue", BLUE, true),
            ("hostB_blue", BLUE, true),
            ("hostA_blue", RED, false),
            ("hostB_red", BLUE, false),
        ] {
            let node = self.fixture.node(host);
            if reachable {
                let page = until(&format!("{address} at {host}"), SETTLE, || fetch(node, address, 3).ok());
                assert!(page.contains(&format!(" at {address}\n")), "{page}");
            } else {
                assert_eq!(fetch(node, address, 2), Err(CURL_TIMED_OUT), "{host} reaches {address}");
            }
        }
    }

    /// Waits until an L3VNI has this state in the status of every node.
    pub fn await_l3vni(&self, name: &str, state: ObjectState) -> Vec<Resource> {
        self.fixture.routers.iter().map(|router| router.await_l3vni(name, state)).collect()
    }

    /// How often every session was established, by node, VRF and peer, except those of one VRF. An equal count means
    /// that the session was not reset.
    pub fn established(&self, except: Option<&str>) -> BTreeMap<(u32, String, String), u64> {
        let mut all = BTreeMap::new();
        for router in &self.fixture.routers {
            for session in router.sessions() {
                let vrf = session.vrf.map_or_else(|| "default".to_owned(), |vrf| vrf.to_string());
                if except != Some(&*vrf) {
                    assert_eq!(session.phase, SessionPhase::Established, "session of {vrf} with {}", session.peer);
                    all.insert((router.index, vrf, session.peer), session.established);
                }
            }
        }
        all
    }

    /// A metric of the controller of a node, summed over the series that contain a text.
    pub fn metric(&self, node: &str, name: &str, with: &str) -> u64 {
        let words = ["curl", "--silent", "--fail", "--noproxy", "*", "http://127.0.0.1:9476/metrics"];
        let text = self.fixture.node(node).check(&words).unwrap();
        let series = text.lines().filter(|line| line.starts_with(name) && line.contains(with));
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Waits until a column of `kubectl get rns` has this value for every node.
    pub fn await_column(&self, path: &str, wanted: &str) {
        let column = format!("jsonpath={{.items[*].{path}}}");
        let mut last = String::new();
        let is_wanted = || {
            last = self.kubectl(&["get", "rns", "-o", &column]);
            (last.split(' ').count() == NODES.len() && last.split(' ').all(|word| word == wanted)).then_some(())
        };
        until(&format!("{path} {wanted} in RouterNodeStatus"), SETTLE, is_wanted);
    }
}

/// Whether a password is configured in a router's FRR.
pub fn has_password(router: &Router, password: &str) -> bool {
    let words = ["vtysh", "--vty_socket", "/run/perouter/frr", "-c", "show running-config"];
    router.node.check(&words).unwrap().lines().any(|line| line.contains(&format!(" password {password}")))
}

/// An L3VNI like those of the example, with further fields of its spec.
pub fn object(name: &str, vni: u32, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "openpe.openperouter.github.io/v1alpha1", "kind": "L3VNI",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"asn": 64514, "vni": vni},
    });
    let fields = object["spec"].as_object_mut().unwrap();
    fields.extend(spec.as_object().unwrap().clone());
    object
}

/// The manifest of a third L3VNI.
pub fn green() -> String {
    l3vni("green", 300, "192.169.12.0/24")
}

/// Runs a step and prints how long it took.
pub fn step<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    eprintln!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    result
}

impl Drop for ClusterFixture {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (node, container) in NODES.iter().flat_map(|node| CONTAINERS.map(|container| (node, container))) {
            let log = self.fixture.node(node).log_folder().join(format!("{container}.{container}.log"));
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let from = log.lines().count().saturating_sub(40);
            eprintln!("---- {node}: end of the log of {container}");
            log.lines().skip(from).for_each(|line| eprintln!("{line}"));
        }
        for words in [&["get", "pods,services,endpointslices", "-A"][..], &["get", "rns", "-o", "yaml"]] {
            if let Ok(output) = self.cluster.kubectl().run(words) {
                eprintln!("---- kubectl {}\n{}{}", words.join(" "), output.stdout, output.stderr);
            }
        }
    }
}
