//! The steps of the `MetalLB` demo.
//!
//! In: the demo's places and a console. Out: the steps, told. It must not clean up after an error: the lab is the evidence.

use std::fmt::Write as _;
use std::fs;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Console, Demo, DemoError, Source, StepError, kubernetes};
use crate::cluster::{self, HostSide};
use crate::evpn::{Type5, type5_routes};
use crate::frr::{self, Instance};
use crate::inspect::align;
use crate::kubernetes::Cluster;
use crate::lab::Lab;
use crate::metallb::{Announcer, read_manifests};
use crate::node::{Background, Node};
use crate::state;
use crate::topology::{Topology, read_topology};
use crate::wait;

/// Cluster nodes in the order of their index.
pub(super) const NODES: [&str; 2] = ["pe-kind-control-plane", "pe-kind-worker"];
pub(super) const RED: &str = "172.30.0.10";
pub(super) const BLUE: &str = "172.30.0.16";

/// How long the network may take to settle.
const SETTLE: Duration = Duration::from_secs(40);
const PROBE: Duration = Duration::from_millis(100);

/// Who asks whom, and whether the page comes.
const REQUESTS: [(&str, &str, bool); 6] = [
    ("hostA_red", RED, true),
    ("hostB_red", RED, true),
    ("hostA_blue", BLUE, true),
    ("hostB_blue", BLUE, true),
    ("hostA_blue", RED, false),
    ("hostA_red", BLUE, false),
];

/// What the steps have made so far.
pub(super) struct Running {
    pub(super) lab: Lab,
    routers: Vec<(&'static str, Background)>,
    /// Not ended on drop: it goes with the lab.
    pub(super) cluster: Option<ManuallyDrop<Cluster>>,
    /// The FRR of each node's host side, and its sessions.
    pub(super) hosts: Option<(Instance, Announcer)>,
}

pub(super) type Step = (&'static str, &'static str, fn(&Demo, &mut Running) -> Result<String, StepError>);

/// Steps after the deployment: title, where to look on (a node and a command), work.
fn steps(source: Source) -> Vec<Step> {
    match source {
        Source::Directory => [&PLAYED[..], &SHOWN].concat(),
        Source::Kubernetes => [&kubernetes::INSTALLED[..], &SHOWN, &kubernetes::TOLD].concat(),
    }
}

const PLAYED: [Step; 2] = [
    ("perouter on both cluster nodes takes over the NIC `toswitch`", "pe-kind-worker -- ip netns", start_routers),
    ("MetalLB's BGP and a web server per service on both nodes", "pe-kind-worker -- vtysh -N host", start_hosts),
];

const SHOWN: [Step; 3] = [
    (
        "sessions: router to fabric, host to router in red and blue",
        "leafkind -- vtysh -c 'show bgp l2vpn evpn summary'",
        show_sessions,
    ),
    (
        "the services are Type-5 routes at leafA",
        "leafA -- vtysh -c 'show bgp l2vpn evpn route type prefix'",
        show_routes,
    ),
    (
        "traffic: each color reaches its own service and not the other's",
        "leafA -- vtysh -c 'show ip route vrf red'",
        show_traffic,
    ),
];

pub(super) fn show(demo: &Demo, console: &mut Console) -> Result<(), Box<DemoError>> {
    console.headline("perouter: a MetalLB service behind an EVPN fabric, each node a real FRR, each packet a real one");
    if demo.source == Source::Kubernetes {
        console.lines(kubernetes::REPLACED);
        console.lines(" ");
    }
    console.begin("the fabric: spine, three leaves, four hosts, two cluster nodes");
    let deployed = topology(demo).and_then(|topology| Ok((deploy(demo, &topology)?, topology)));
    let (lab, _) = deployed.map_err(|source| fault(console, state_folder(demo), "inspect", source))?;
    console.done(&fabric(&lab));
    let mut running = Running { lab, routers: Vec::new(), cluster: None, hosts: None };
    for (title, look, work) in steps(demo.source) {
        console.begin(title);
        let found = work(demo, &mut running).map_err(|source| {
            let look = format!("exec --name {} {look}", running.lab.name());
            fault(console, running.lab.folder().join("nodes"), &look, source)
        })?;
        console.done(&found);
    }
    finish(demo, console, &running)
}

/// How many steps there are; the last one only where the lab is not kept.
pub(super) fn count(demo: &Demo) -> usize {
    steps(demo.source).len() + if demo.keep { 1 } else { 2 }
}

fn fault(console: &mut Console, logs: PathBuf, look: &str, source: StepError) -> Box<DemoError> {
    console.failed();
    let (number, of) = console.position();
    Box::new(DemoError { number, of, title: console.title(), logs, look: look.to_owned(), source })
}

fn state_folder(demo: &Demo) -> PathBuf {
    let name = topology(demo).map(|topology| topology.lab);
    name.map_or_else(|_| PathBuf::from("/run/clab"), |name| state::folder(&name))
}

fn topology(demo: &Demo) -> Result<Topology, StepError> {
    let mut topology = read_topology(&demo.root.join("clab/metallb.clab.yml"))?;
    topology.lab = demo.name.clone().unwrap_or(topology.lab);
    Ok(topology)
}

fn deploy(demo: &Demo, topology: &Topology) -> Result<Lab, StepError> {
    for path in [&demo.perouter, &demo.own_program] {
        if !path.is_file() {
            return Err(StepError::NoProgram { path: path.clone() });
        }
    }
    super::down(&topology.lab)?;
    Ok(Lab::deploy(topology)?)
}

fn fabric(lab: &Lab) -> String {
    let first = lab.nodes().first().map_or_else(String::new, |node| node.long_name().to_owned());
    format!("{} nodes, each a network namespace, like {first}", lab.nodes().len())
}

fn start_routers(demo: &Demo, running: &mut Running) -> Result<String, StepError> {
    let config = demo.root.join("examples/metallb");
    let mut found = String::new();
    for (index, name) in NODES.into_iter().enumerate() {
        let node = running.lab.node(name)?;
        let log = node.log_folder().join("perouter.log");
        let (program, config, index) = (demo.perouter.to_string_lossy(), config.to_string_lossy(), index.to_string());
        let words = [&*program, "run", "--config-dir", &config, "--node-name", name, "--node-index", &index];
        let router = node.spawn(&words, &log)?;
        let _ = writeln!(found, "{name}: {}", words.join(" ").replace(&*program, "perouter"));
        running.routers.push((name, router));
    }
    await_nics(running)?;
    Ok(found)
}

pub(super) fn await_nics(running: &mut Running) -> Result<(), StepError> {
    settle(running, "the NIC of both nodes in the router's namespace", |running| {
        let gone = |name: &&str| {
            let links = running.lab.node(name).ok()?.run(&["ip", "-br", "link", "show", "toswitch"]).ok()?;
            (!links.success()).then_some(())
        };
        match NODES.iter().find(|name| gone(name).is_none()) {
            None => Ok(()),
            Some(name) => Err(format!("toswitch is still in the host namespace of {name}")),
        }
    })
}

fn start_hosts(demo: &Demo, running: &mut Running) -> Result<String, StepError> {
    let announcer = read_manifests(&demo.root.join("examples/metallb/metallb.yaml"))?;
    for name in NODES {
        let host = HostSide::new(running.lab.node(name)?, &announcer);
        host.start()?;
        host.serve_from(&demo.own_program)?;
    }
    let service = |(name, service): (&String, &crate::metallb::Service)| {
        let addresses: Vec<_> = service.addresses.iter().map(ToString::to_string).collect();
        format!("service {name}: {} port {}\n", addresses.join(", "), service.port)
    };
    let found = announcer.services.iter().map(service).collect();
    running.hosts = Some((cluster::HOST, announcer));
    Ok(found)
}

fn show_sessions(_: &Demo, running: &mut Running) -> Result<String, StepError> {
    settle(running, "all sessions", |running| {
        let down = sessions(running)?.into_iter().find(|row| row[3] != "Established");
        down.map_or(Ok(()), |[node, neighbor, session, state]| {
            Err(format!("{session} of {node} with {neighbor} is {state}"))
        })
    })?;
    let rows = sessions(running).unwrap_or_default();
    let head = ["AT", "NEIGHBOR", "SESSION", "STATE"].map(ToOwned::to_owned);
    Ok(align(&std::iter::once(head).chain(rows).collect::<Vec<_>>()))
}

/// Rows of node, neighbor, session, state: the leaf's sessions with both routers, then the hosts' with theirs.
fn sessions(running: &Running) -> Result<Vec<[String; 4]>, String> {
    let leaf = running.lab.node("leafkind").map_err(|error| error.to_string())?;
    let summary = frr::show(leaf, Instance::Main, "show bgp l2vpn evpn summary json");
    let summary = summary.map_err(|error| error.to_string())?.unwrap_or_default();
    let underlay = ["192.168.11.3", "192.168.11.4"].map(|neighbor| {
        let state = summary["peers"][neighbor]["state"].as_str().unwrap_or("Idle");
        ["leafkind", neighbor, "underlay, EVPN", state].map(ToOwned::to_owned)
    });
    let mut rows = Vec::from(underlay);
    let Some((instance, announcer)) = &running.hosts else { return Ok(rows) };
    for name in NODES {
        let node = running.lab.node(name).map_err(|error| error.to_string())?;
        let sessions = cluster::sessions(node, *instance, announcer).map_err(|error| error.to_string())?;
        rows.extend(sessions.into_iter().map(|(neighbor, peer, state)| [name.to_owned(), neighbor, peer, state]));
    }
    Ok(rows)
}

fn show_routes(_: &Demo, running: &mut Running) -> Result<String, StepError> {
    let mut routes = Vec::new();
    settle(running, "a Type-5 route of each service from both nodes", |running| {
        let leaf = running.lab.node("leafA").map_err(|error| error.to_string())?;
        routes = type5_routes(leaf).map_err(|error| error.to_string())?;
        let missing = [(RED, 100), (BLUE, 200)].into_iter().find(|(address, vni)| {
            let of_service = |route: &&Type5| route.prefix.addr().to_string() == *address && route.vni == *vni;
            routes.iter().filter(of_service).count() < NODES.len()
        });
        missing.map_or(Ok(()), |(address, vni)| Err(format!("{address} is not there from both with VNI {vni}")))
    })?;
    let head = ["PREFIX", "VNI", "ROUTE TARGET", "ROUTER MAC", "VTEP", "AS PATH"].map(ToOwned::to_owned);
    let services = routes.into_iter().filter(|route| [RED, BLUE].contains(&&*route.prefix.addr().to_string()));
    let row = |route: Type5| {
        let targets = route.route_targets.join(" ");
        [route.prefix.to_string(), route.vni.to_string(), targets, route.router_mac, route.vtep, route.as_path]
    };
    Ok(align(&std::iter::once(head).chain(services.map(row)).collect::<Vec<_>>()))
}

fn show_traffic(_: &Demo, running: &mut Running) -> Result<String, StepError> {
    let mut found = String::new();
    for (host, address, page) in REQUESTS {
        let _ = writeln!(found, "{host}$ curl http://{address}/");
        let said = if page { fetch(running, host, address)? } else { starve(running, host, address)? };
        for line in said.lines() {
            let _ = writeln!(found, "    {line}");
        }
    }
    Ok(found)
}

fn curl(running: &Running, host: &str, address: &str, seconds: &str) -> Result<crate::node::Output, StepError> {
    let url = format!("http://{address}/");
    let words = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", seconds, &url];
    Ok(running.lab.node(host)?.run(&words)?)
}

fn fetch(running: &mut Running, host: &'static str, address: &'static str) -> Result<String, StepError> {
    let mut text = String::new();
    settle(running, &format!("the page of http://{address}/ at {host}"), |running| {
        let output = curl(running, host, address, "2").map_err(|error| error.to_string())?;
        let good = output.success() && output.stdout.contains(&format!(" at {address}\n"));
        text = output.stdout;
        if good { Ok(()) } else { Err(output.stderr.trim().to_owned()) }
    })?;
    Ok(text)
}

/// Exit code of curl when the time is up; any other means that somebody answered.
const CURL_TIMED_OUT: i32 = 28;

fn starve(running: &Running, host: &'static str, address: &'static str) -> Result<String, StepError> {
    let output = curl(running, host, address, "2")?;
    if output.code == Some(CURL_TIMED_OUT) {
        return Ok(format!("{} (as it should be)", output.stderr.trim()));
    }
    let code = output.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    Err(StepError::NotIsolated { host, address, code, said: output.stdout + output.stderr.trim() })
}

/// Probes until it is good; ends at once when a router has ended, for then it never will be.
pub(super) fn settle(
    running: &mut Running,
    what: &str,
    mut probe: impl FnMut(&Running) -> Result<(), String>,
) -> Result<(), StepError> {
    let start = Instant::now();
    let mut last = String::new();
    let waited = wait::until(what, SETTLE, PROBE, || {
        if let Err(error) = routers_alive(running) {
            return Some(Err(error));
        }
        probe(running).map_err(|state| last = state).ok().map(Ok)
    });
    match waited {
        Ok(result) => result,
        Err(waited) => {
            Err(StepError::NotReached { waited: wait::TimedOut { waited: start.elapsed(), ..waited }, last })
        }
    }
}

fn routers_alive(running: &mut Running) -> Result<(), StepError> {
    for (node, router) in &mut running.routers {
        if let Some(status) = router.ended().map_err(StepError::Follow)? {
            let log = fs::read_to_string(router.log()).unwrap_or_default();
            let from = log.lines().count().saturating_sub(5);
            let words = log.lines().skip(from).collect::<Vec<_>>().join("\n");
            return Err(StepError::RouterEnded { node: (*node).to_owned(), status: status.to_string(), words });
        }
    }
    if let Some(cluster) = &mut running.cluster {
        cluster.kubelet().all_alive()?;
    }
    Ok(())
}

fn finish(demo: &Demo, console: &mut Console, running: &Running) -> Result<(), Box<DemoError>> {
    let lab = &running.lab;
    let seconds = console.elapsed().as_secs_f64();
    if !demo.keep {
        console.begin("all of it is taken away again");
        let folder = lab.folder();
        let gone = super::down(lab.name()).map_err(|source| fault(console, folder, "inspect", source))?;
        console.done(&format!("{} nodes, with all their processes, namespaces and mounts", gone.nodes));
        console.verdict(&format!("all of it works, shown in {seconds:.0} s; KEEP=1 leaves the lab up"));
        return Ok(());
    }
    console.verdict(&format!("all of it works, shown in {seconds:.0} s; the lab is still up. Try:"));
    let (name, program) = (lab.name(), demo.own_program_shown());
    let red = lab.node("hostA_red").map_or_else(|_| String::new(), |node| node.long_name().to_owned());
    console.lines(&format!(
        "ip netns exec {red} curl http://{RED}/\n\
         {program} exec --name {name} leafA -- vtysh -c 'show bgp l2vpn evpn route type prefix'"
    ));
    match &running.cluster {
        None => console.lines(&format!(
            "{program} exec --name {name} pe-kind-worker -- vtysh -N host -c 'show bgp summary'\n\
             {program} host-bgp withdraw --name {name} pe-kind-worker red"
        )),
        Some(cluster) => {
            let (node, kubectl) = (lab.node(NODES[0]).map_or("", Node::long_name), cluster.kubectl());
            console.lines(&format!(
                "{program} exec --name {name} pe-kind-worker -- vtysh -c 'show bgp summary'\n\
                 ip netns exec {node} {} --kubeconfig {} get routernodestatuses",
                kubectl.program().display(),
                kubectl.kubeconfig().display()
            ));
        }
    }
    console.lines(&demo.down_shown());
    Ok(())
}
