//! Installation of the demo without a cluster: perouter reads a directory, and the host sides stand in for `MetalLB`.
//!
//! In: the demo's settings and the lab. Out: its steps. It must not check sessions, routes or traffic.

use std::fmt::Write as _;

use super::context::{DemoContext, DemoStep, NODES, await_nics};
use super::error::StepError;
use super::settings::Demo;
use crate::host_side::{HOST, HostSide};
use crate::metallb::{Service, read_manifests};

/// Steps after the deployment of the fabric.
pub(super) const STEPS: [DemoStep; 2] = [
    DemoStep {
        title: "perouter on both nodes moves the NIC `toswitch` to its namespace",
        inspect: "pe-kind-worker -- ip netns",
        run: start_routers,
    },
    DemoStep {
        title: "MetalLB's BGP and a web server per service on both nodes",
        inspect: "pe-kind-worker -- vtysh -N host",
        run: start_hosts,
    },
];

fn start_routers(demo: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let config = demo.root.join("examples/metallb");
    let mut lines = String::new();
    for (index, name) in NODES.into_iter().enumerate() {
        let node = context.lab.node(name)?;
        let log = node.log_folder().join("perouter.log");
        let (program, config, index) = (demo.perouter.to_string_lossy(), config.to_string_lossy(), index.to_string());
        let words = [&*program, "run", "--config-dir", &config, "--node-name", name, "--node-index", &index];
        let router = node.spawn(&words, &log)?;
        let _ = writeln!(lines, "{name}: {}", words.join(" ").replace(&*program, "perouter"));
        context.routers.push((name, router));
    }
    await_nics(context)?;
    Ok(lines)
}

fn start_hosts(demo: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let announcer = read_manifests(&demo.root.join("examples/metallb/metallb.yaml"))?;
    for name in NODES {
        let host = HostSide::new(context.lab.node(name)?, &announcer);
        host.start()?;
        host.serve_from(&demo.own_program)?;
    }
    let line = |(name, service): (&String, &Service)| {
        let addresses: Vec<_> = service.addresses.iter().map(ToString::to_string).collect();
        format!("service {name}: {} port {}\n", addresses.join(", "), service.port)
    };
    let lines = announcer.services.iter().map(line).collect();
    context.hosts = Some((HOST, announcer));
    Ok(lines)
}
