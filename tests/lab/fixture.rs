//! A lab with routers, hosts and services, and the objects as files that tests edit. In: a name, the nodes, and the
//! differences from the example. Out: [`Fixture`], which removes everything when it is dropped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use perouter::frr::release::{FrrVersion, Release};
use perouter_lab::HostSide;
use perouter_lab::evpn::type5_routes;
use perouter_lab::image::{Image, NodeProgram};
use perouter_lab::lab::{self, Lab, ScopedLab};
use perouter_lab::metallb::{Announcer, Labels, read_manifests};
use perouter_lab::node::Node;
use perouter_lab::topology::{Bind, LabName, NodeName, Topology, read_topology};
use perouter_lab::wait;
use perouter_lab::web::Server;
use tempfile::TempDir;

use super::fabric::type5_of;
use super::router::Router;
use super::traffic::{Echo, Stream};

pub const SETTLE: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The cluster nodes: their index is the node index.
pub const NODES: [&str; 2] = ["pe-kind-control-plane", "pe-kind-worker"];
pub const RED: &str = "172.30.0.10";
pub const BLUE: &str = "172.30.0.16";
const ECHO_PORT: u16 = 7;

/// Polls until there is a value, longer on a slow machine. Panics on timeout.
#[track_caller]
pub fn until<T>(what: &str, at_most: Duration, probe: impl FnMut() -> Option<T>) -> T {
    match wait::until(what, scaled(at_most), scaled(POLL_INTERVAL), probe) {
        Ok(found) => found,
        Err(timeout) => {
            if std::env::var_os("PEROUTER_LAB_HOLD").is_some() {
                eprintln!("HOLD: {timeout}");
                std::thread::sleep(Duration::from_secs(1200));
            }
            panic!("{timeout}")
        }
    }
}

/// Polls until a condition is true. Panics on timeout.
#[track_caller]
pub fn until_true(what: &str, mut probe: impl FnMut() -> bool) {
    until(what, SETTLE, || probe().then_some(()));
}

/// A time limit for a normal machine, scaled for this one.
pub fn scaled(time: Duration) -> Duration {
    let factor = std::env::var("PEROUTER_LAB_SLOWNESS").map_or(1.0, |text| text.parse().unwrap());
    time.mul_f64(factor)
}

/// Interval of BFD in milliseconds. A machine that does not schedule a daemon for three of them loses the session.
pub fn bfd_interval() -> u128 {
    scaled(Duration::from_millis(300)).as_millis()
}

/// BFD in an object, with that interval.
pub fn bfd_settings() -> String {
    let interval = bfd_interval();
    format!("bfd: {{receiveInterval: {interval}, transmitInterval: {interval}}}")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// False without root: then the test is left out.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("left out: a lab needs root");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test as root");
    }
    root
}

/// The FRR release of the lab.
pub fn lab_release() -> Release {
    let release = std::env::var("PEROUTER_LAB_FRR").unwrap_or_default();
    if release.is_empty() { machine_release() } else { release_of(&format!("zebra version {release}")) }
}

/// The FRR release of the machine.
pub fn machine_release() -> Release {
    let output = std::process::Command::new("/usr/lib/frr/zebra").arg("--version").output().unwrap();
    release_of(&String::from_utf8(output.stdout).unwrap())
}

fn release_of(text: &str) -> Release {
    Release::of(&FrrVersion::parse(text).unwrap()).unwrap()
}

/// Topology, announcer and objects of a lab; the example's by default.
pub struct Setup {
    /// The topology file in `clab/`.
    pub topology: &'static str,
    /// The image of leaves and spine, if not that of the topology.
    pub switch_image: Option<&'static str>,
    pub announcer: Announcer,
    pub objects: BTreeMap<&'static str, String>,
    /// Labels of the nodes, by index.
    pub labels: BTreeMap<usize, Labels>,
    /// Directories of the machine, and where the nodes have them.
    pub binds: Vec<(&'static str, &'static str)>,
    /// Whether leafB and its hosts are there. Few tests need them, and a leaf takes long to start in the guest.
    has_leaf_b: bool,
}

impl Setup {
    /// The example's objects, one file each.
    pub fn example() -> Self {
        Self::of_example("metallb")
    }

    /// Another example's objects: an Underlay, then red and blue.
    pub fn of_example(name: &str) -> Self {
        let folder = repository().join("examples").join(name);
        let text = fs::read_to_string(folder.join("openpe.yaml")).unwrap();
        let documents: Vec<String> = text.split("---\n").map(str::to_owned).collect();
        let files = ["underlay.yaml", "red.yaml", "blue.yaml"];
        assert_eq!(documents.len(), files.len(), "the example has an Underlay and two L3VNIs");
        let announcer = read_manifests(&folder.join("metallb.yaml")).unwrap();
        let objects = files.into_iter().zip(documents).collect();
        Self {
            topology: "metallb.clab.yml",
            switch_image: None,
            announcer,
            objects,
            labels: BTreeMap::new(),
            binds: vec![],
            has_leaf_b: false,
        }
    }

    /// With leafB and its hosts.
    pub fn with_leaf_b(self) -> Self {
        Self { has_leaf_b: true, ..self }
    }

    /// Adds a label to a node.
    pub fn labeled(mut self, node: usize, key: &str, value: &str) -> Self {
        self.labels.entry(node).or_default().insert(key.to_owned(), value.to_owned());
        self
    }

    /// The example's L3VNIs on a node with two NICs to two leaves, the Underlay with these lines after its NICs.
    pub fn dual_homed(spec_lines: &str) -> Self {
        let nics = "  nics:\n    - toswitch\n";
        let mut setup = Self::example().replacing("underlay.yaml", nics, "  nics: [eth1, eth2]\n");
        let underlay = setup.objects.get_mut("underlay.yaml").unwrap();
        underlay.truncate(underlay.find("  neighbors:").unwrap());
        underlay.push_str(spec_lines);
        setup.topology = "dualhomed.clab.yml";
        setup
    }

    fn leave_out_leaf_b(&self, topology: &mut Topology) {
        if self.has_leaf_b {
            return;
        }
        let is_there = |node: &NodeName| !["leafB", "hostB_red", "hostB_blue"].contains(&node.as_str());
        topology.nodes.retain(|name, _| is_there(name));
        topology.links.retain(|link| link.ends.iter().all(|end| is_there(&end.node)));
    }

    fn bind(&self, topology: &mut Topology) {
        for (_, node) in topology.nodes.iter_mut().filter(|(name, _)| NODES.contains(&name.as_str())) {
            let binds = self.binds.iter().map(|(source, target)| (source.into(), target.into()));
            node.binds.extend(binds.map(|(source, target)| Bind { line: 0, source, target, read_only: false }));
        }
    }

    /// Replaces a part of an object.
    pub fn replacing(mut self, file: &'static str, from: &str, to: &str) -> Self {
        let text = self.objects.get_mut(file).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`:\n{text}");
        *text = text.replace(from, to);
        self
    }

    /// Adds lines to the spec of an object.
    pub fn with(mut self, file: &'static str, spec_lines: &str) -> Self {
        let text = self.objects.get_mut(file).unwrap();
        text.truncate(text.trim_end().len());
        text.push('\n');
        text.push_str(spec_lines);
        self
    }
}

/// A running lab.
pub struct Fixture {
    pub routers: Vec<Router>,
    pub hosts: Vec<HostSide>,
    services: Vec<IpAddr>,
    echoes: Vec<Echo>,
    servers: Vec<Server>,
    pub lab: ScopedLab,
    folder: TempDir,
    _lock: File,
}

impl Fixture {
    /// Deploys fabric and objects; nothing runs on the nodes yet. `None` without root.
    pub fn deploy(name: &str, nodes: &[usize], setup: &Setup) -> Option<Self> {
        if !is_root() {
            return None;
        }
        // Labs of the same name use the same namespaces. A file lock also works between processes and is released when the
        // process exits.
        let lock = File::create(std::env::temp_dir().join(format!("perouter-lab-{name}.lock"))).unwrap();
        lock.lock().unwrap();
        let mut topology = read_topology(&repository().join("clab").join(setup.topology)).unwrap();
        topology.lab = LabName::new(&format!("lt-{name}")).unwrap();
        if let Some(name) = setup.switch_image {
            let runs_frr = |image: &&mut Image| image.program == NodeProgram::Frr;
            let switches = topology.nodes.values_mut().filter_map(|node| node.image.as_mut()).filter(runs_frr);
            switches.for_each(|image| *image = Image::named(name).unwrap());
        }
        setup.leave_out_leaf_b(&mut topology);
        setup.bind(&mut topology);
        lab::destroy(&topology.lab).unwrap();
        let lab = Lab::deploy(&topology).unwrap().destroyed_on_drop();
        let folder = TempDir::with_prefix("lt-objects-").unwrap();
        for (file, text) in &setup.objects {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let node = |index: &usize| lab.node(NODES[*index]).unwrap();
        let labels = |index: &usize| setup.labels.get(index).cloned().unwrap_or_default();
        let router = |index: &usize| {
            let router = Router::new(node(index), u32::try_from(*index).unwrap(), folder.path());
            router.labeled(&labels(index))
        };
        let routers = nodes.iter().map(router).collect();
        let host = |index: &usize| HostSide::labeled(node(index), &setup.announcer, &labels(index));
        let hosts = nodes.iter().map(host).collect();
        let services = setup.announcer.services.values().flat_map(|service| service.addresses.clone()).collect();
        Some(Self { routers, hosts, services, echoes: vec![], servers: vec![], lab, folder, _lock: lock })
    }

    /// Deploys, starts `perouter run`, hosts and services on these nodes, and waits until both services are reachable.
    pub fn start(name: &str, nodes: &[usize]) -> Option<Self> {
        Self::start_with(name, nodes, &Setup::example())
    }

    /// [`Fixture::start`] with another setup.
    pub fn start_with(name: &str, nodes: &[usize], setup: &Setup) -> Option<Self> {
        let mut fixture = Self::deploy(name, nodes, setup)?;
        for router in &mut fixture.routers {
            router.start();
        }
        fixture.start_hosts();
        fixture.await_services();
        Some(fixture)
    }

    /// Starts the host side and the services of every node.
    pub fn start_hosts(&mut self) {
        for router in &mut self.routers {
            until_true("the router's VRFs", || {
                assert!(router.is_running() || router.status().is_some(), "perouter has exited");
                router.status().is_some_and(|status| status.ready && !status.vnis.is_empty())
            });
        }
        for host in &self.hosts {
            host.start().unwrap();
            self.servers.extend(host.serve().unwrap());
            for address in &self.services {
                self.echoes.push(Echo::start(host.node(), SocketAddr::new(*address, ECHO_PORT)));
            }
        }
    }

    /// Waits until leafA has a route to both services through every router.
    pub fn await_services(&self) {
        for (address, vni) in [(RED, 100), (BLUE, 200)] {
            self.await_type5(&format!("{address}/32"), vni);
        }
    }

    /// Waits until leafA has a Type-5 route from every router and from no other VTEP.
    #[track_caller]
    pub fn await_type5(&self, prefix: &str, vni: u32) {
        let wanted: Vec<String> = self.routers.iter().map(Router::vtep).collect();
        self.await_type5_from(prefix, vni, &wanted);
    }

    /// Waits until leafA has a Type-5 route from exactly these VTEPs.
    #[track_caller]
    pub fn await_type5_from(&self, prefix: &str, vni: u32, vteps: &[String]) {
        until_true(&format!("{prefix} on leafA with VNI {vni} from {vteps:?}"), || {
            let routes = type5_of(self.node("leafA"), prefix);
            let mut found: Vec<String> = routes.iter().map(|route| route.vtep.clone()).collect();
            found.sort();
            found.dedup();
            found == vteps && routes.iter().all(|route| route.vni == vni)
        });
    }

    /// A node of the lab.
    pub fn node(&self, name: &str) -> &Node {
        self.lab.node(name).unwrap()
    }

    /// The only router.
    pub fn router(&mut self) -> &mut Router {
        assert_eq!(self.routers.len(), 1);
        &mut self.routers[0]
    }

    /// The path of an object's file.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes a file atomically.
    pub fn write(&self, file: &str, text: &str) {
        let temporary = self.folder.path().join(format!(".{file}.new"));
        fs::write(&temporary, text).unwrap();
        fs::rename(&temporary, self.path(file)).unwrap();
    }

    /// Replaces a part of a file.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`:\n{text}");
        self.write(file, &text.replace(from, to));
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).unwrap();
    }

    /// A stream of requests from a host of leafA to the service of its colour.
    pub fn stream(&self, colour: &str) -> Stream {
        let (host, address) = if colour == "red" { ("hostA_red", RED) } else { ("hostA_blue", BLUE) };
        Stream::start(self.node(host), echo(address))
    }
}

/// Where a service replies to the requests of a stream.
pub fn echo(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), ECHO_PORT)
}

/// The manifest of an L3VNI like those of the example.
pub fn l3vni(name: &str, vni: u32, subnet: &str) -> String {
    format!(
        "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata:\n  name: {name}\n  \
         namespace: openperouter-system\nspec:\n  asn: 64514\n  vni: {vni}\n  localcidr:\n    ipv4: {subnet}\n  \
         hostasn: 64515\n"
    )
}

impl Fixture {
    /// Leaves and spine, each with the options by which `ip` enters the namespace of the underlay.
    fn switches(&self) -> impl Iterator<Item = (&Node, &'static [&'static str])> {
        let is_switch = |node: &&Node| {
            let name = node.name().as_str();
            name.starts_with("leaf") || name == "spine"
        };
        self.lab.nodes().iter().filter(is_switch).map(|node| (node, &[][..]))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for router in &self.routers {
            let log = fs::read_to_string(router.log()).unwrap_or_default();
            let shown = std::env::var("PEROUTER_LAB_LOG_LINES").map_or(60, |lines| lines.parse().unwrap());
            let from = log.lines().count().saturating_sub(shown);
            eprintln!("---- {}: end of the log of perouter", router.node.name());
            log.lines().skip(from).for_each(|line| eprintln!("{line}"));
            for command in ["status", "check"] {
                if let Ok(output) = router.node.run(&[env!("CARGO_BIN_EXE_perouter"), command]) {
                    eprintln!("---- {}: perouter {command}\n{}{}", router.node.name(), output.stdout, output.stderr);
                }
            }
        }
        for host in &self.hosts {
            let sessions = host.sessions().map_err(|error| error.to_string());
            eprintln!("---- {}: sessions of the host side: {sessions:?}", host.node().name());
        }
        for (node, netns) in
            self.routers.iter().map(|router| (&router.node, &["-n", "perouter"][..])).chain(self.switches())
        {
            for what in [&["route"][..], &["neigh"], &["-s", "link", "show", "type", "vxlan"]] {
                let shown = node.check(&[&["ip"], netns, what].concat());
                eprintln!(
                    "---- {}: ip {}\n{}",
                    node.name(),
                    what.join(" "),
                    shown.unwrap_or_else(|error| error.to_string())
                );
            }
        }
        eprintln!("---- leafA: Type-5 routes");
        for route in self.lab.node("leafA").ok().and_then(|leaf| type5_routes(leaf).ok()).unwrap_or_default() {
            eprintln!("{} VNI {} {:?} {}", route.prefix, route.vni, route.route_targets, route.vtep);
        }
    }
}
