//! The demo from the deployment to the end.
//!
//! In: the demo's settings and a console. Out: each step with its result. It must not clean up after a failure: the lab is
//! needed to find the cause.

use std::io;
use std::path::PathBuf;

use super::console::Console;
use super::context::{DemoContext, DemoStep, NODES, RED};
use super::error::{DemoError, StepError};
use super::settings::{Demo, Source, Subject};
use super::{checks, directory, kubernetes, layer2};
use crate::lab::{self, Destroyed, Lab};
use crate::node::Node;
use crate::state;
use crate::topology::{LabName, Topology, read_topology};

impl Demo {
    /// How many steps it has: the deployment, the steps after it and, unless the lab is kept, its removal.
    pub fn steps(&self) -> usize {
        steps(&self.subject).len() + if self.keep { 1 } else { 2 }
    }

    /// Shows the demo. The lab of an earlier run is destroyed first; after an error the lab is kept for inspection.
    pub fn run(&self, console: &mut Console) -> Result<(), Box<DemoError>> {
        console.headline(headline(&self.subject));
        let mut image = None;
        if let Subject::Metallb { source: Source::Kubernetes, image: name } = &self.subject {
            let (found, pods) = kubernetes::image(self, name.as_deref());
            image = found;
            console.lines(&kubernetes::differences(&pods));
            console.lines(" ");
        }
        console.begin("the fabric: spine, three leaves, four hosts, two cluster nodes");
        let lab = deploy(self).map_err(|source| failed(console, lab_folder(self), "inspect", source))?;
        console.done(&fabric(&lab));
        let mut context = DemoContext { lab, routers: Vec::new(), image, cluster: None, hosts: None, pods: Vec::new() };
        for step in steps(&self.subject) {
            console.begin(step.title);
            let lines = (step.run)(self, &mut context).map_err(|source| {
                let inspect = format!("exec --name {} {}", context.lab.name(), step.inspect);
                failed(console, context.lab.folder().join("nodes"), &inspect, source)
            })?;
            console.done(&lines);
        }
        if self.keep {
            console
                .verdict(&format!("everything works, shown in {}; the lab is still running. Try:", seconds(console)));
            console.lines(&suggestions(self, &context));
            return Ok(());
        }
        let took = seconds(console);
        console.begin("the lab is destroyed");
        let folder = context.lab.folder();
        let destroyed = down(context.lab.name()).map_err(|source| failed(console, folder, "inspect", source))?;
        console.done(&format!("{} nodes with all their processes, namespaces and mounts", destroyed.nodes));
        console.verdict(&format!("everything works, shown in {took}; KEEP=1 keeps the lab running"));
        Ok(())
    }
}

/// Destroys the demo's lab and the folder of its control plane.
pub fn down(name: &LabName) -> Result<Destroyed, StepError> {
    let link = kubernetes::link(&state::folder(name));
    let folder = std::fs::read_link(&link);
    let destroyed = lab::destroy(name)?;
    match folder {
        Ok(path) => std::fs::remove_dir_all(&path).map_err(|source| StepError::Folder { path, source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(StepError::Folder { path: link, source }),
    }
    Ok(destroyed)
}

fn headline(subject: &Subject) -> &'static str {
    match subject {
        Subject::Metallb { .. } => {
            "perouter: a MetalLB service behind an EVPN fabric, each node a real FRR, each packet a real one"
        }
        Subject::Layer2 => {
            "perouter: Pods of two nodes on one segment, and one of them moves; each node a real FRR, each packet a real one"
        }
    }
}

/// Steps after the deployment.
fn steps(subject: &Subject) -> Vec<DemoStep> {
    match subject {
        Subject::Metallb { source: Source::Directory, .. } => [&directory::STEPS[..], &checks::STEPS].concat(),
        Subject::Metallb { source: Source::Kubernetes, .. } => {
            [&kubernetes::STEPS[..], &checks::STEPS, &[kubernetes::STATUS]].concat()
        }
        Subject::Layer2 => layer2::STEPS.to_vec(),
    }
}

fn failed(console: &mut Console, logs: PathBuf, inspect: &str, source: StepError) -> Box<DemoError> {
    console.failed();
    let (number, of) = console.position();
    Box::new(DemoError { number, of, title: console.title(), logs, inspect: inspect.to_owned(), source })
}

fn lab_folder(demo: &Demo) -> PathBuf {
    let name = topology(demo).map(|topology| topology.lab);
    name.map_or_else(|_| PathBuf::from("/run/clab"), |name| state::folder(&name))
}

fn topology(demo: &Demo) -> Result<Topology, StepError> {
    let mut topology = read_topology(&demo.root.join("clab/metallb.clab.yml"))?;
    topology.lab = demo.name.clone().unwrap_or(topology.lab);
    Ok(topology)
}

fn deploy(demo: &Demo) -> Result<Lab, StepError> {
    let topology = topology(demo)?;
    for path in [&demo.perouter, &demo.own_program] {
        if !path.is_file() {
            return Err(StepError::NoProgram { path: path.clone() });
        }
    }
    down(&topology.lab)?;
    Ok(Lab::deploy(&topology)?)
}

fn fabric(lab: &Lab) -> String {
    let first = lab.nodes().first().map_or_else(String::new, |node| node.long_name().to_owned());
    format!("{} nodes, each a network namespace such as {first}", lab.nodes().len())
}

fn seconds(console: &Console) -> String {
    format!("{:.0} s", console.elapsed().as_secs_f64())
}

/// Commands to try in a lab that is kept.
fn suggestions(demo: &Demo, context: &DemoContext) -> String {
    let lines = match demo.subject {
        Subject::Metallb { .. } => suggestions_metallb(demo, context),
        Subject::Layer2 => layer2::suggestions(demo, context),
    };
    format!("{lines}\n{}", demo.down_command())
}

fn suggestions_metallb(demo: &Demo, context: &DemoContext) -> String {
    let lab = &context.lab;
    let (name, program) = (lab.name(), demo.own_command());
    let red = lab.node("hostA_red").map_or("", Node::long_name);
    let routes = format!(
        "ip netns exec {red} curl http://{RED}/\n\
         {program} exec --name {name} leafA -- vtysh -c 'show bgp l2vpn evpn route type prefix'"
    );
    let source = match &context.cluster {
        None => format!(
            "{program} exec --name {name} pe-kind-worker -- vtysh -N host -c 'show bgp summary'\n\
             {program} host-bgp withdraw --name {name} pe-kind-worker red"
        ),
        Some(cluster) => {
            let (node, kubectl) = (lab.node(NODES[0]).map_or("", Node::long_name), cluster.kubectl());
            format!(
                "{program} exec --name {name} pe-kind-worker -- vtysh -c 'show bgp summary'\n\
                 ip netns exec {node} {} --kubeconfig {} get routernodestatuses",
                kubectl.program().display(),
                kubectl.kubeconfig().display()
            )
        }
    };
    format!("{routes}\n{source}")
}
