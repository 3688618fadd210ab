//! Installation of the demo without a cluster: perouter reads a directory, and the host sides stand in for `MetalLB`.
//!
//! In: the demo's settings and the lab. Out: its steps. It must not check sessions, routes or traffic.

use super::context::{DemoContext, DemoStep, NODES};
use super::error::StepError;
use super::routers;
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
    routers::start(demo, context, "metallb")
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
