//! What the steps of the demo share.
//!
//! In: a deployed lab. Out: [`DemoContext`], to which the steps add what they start, and waiting for a state of it. It must
//! not know the steps.

use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use super::error::StepError;
use super::settings::Demo;
use crate::frr::Instance;
use crate::kubernetes::{ContainerImage, LabCluster};
use crate::lab::Lab;
use crate::metallb::Announcer;
use crate::node::Background;
use crate::wait;
use crate::workload::Workload;

/// Cluster nodes in the order of their index.
pub(super) const NODES: [&str; 2] = ["pe-kind-control-plane", "pe-kind-worker"];
/// Address of the service in the red VNI.
pub(super) const RED: &str = "172.30.0.10";
/// Address of the service in the blue VNI.
pub(super) const BLUE: &str = "172.30.0.16";

/// How long the network may take to converge.
const CONVERGENCE_TIMEOUT: Duration = Duration::from_secs(40);
const PROBE: Duration = Duration::from_millis(100);

/// What the steps have started so far.
pub(super) struct DemoContext {
    pub(super) lab: Lab,
    pub(super) routers: Vec<(&'static str, Background)>,
    /// The image of perouter, if its Pods are containers.
    pub(super) image: Option<ContainerImage>,
    /// Not stopped on drop: its processes are those of the lab.
    pub(super) cluster: Option<ManuallyDrop<LabCluster>>,
    /// The FRR instance of each node's host side, and its sessions.
    pub(super) hosts: Option<(Instance, Announcer)>,
    /// The Pods on the segment, in the order of their names.
    pub(super) pods: Vec<Workload>,
}

/// A step after the deployment.
#[derive(Clone, Copy)]
pub(super) struct DemoStep {
    pub(super) title: &'static str,
    /// Node and command that show more if the step fails.
    pub(super) inspect: &'static str,
    /// The work; returns the lines to show.
    pub(super) run: fn(&Demo, &mut DemoContext) -> Result<String, StepError>,
}

/// Probes until there is no complaint; stops at once if a router has exited, as the state cannot be reached then.
pub(super) fn await_state(
    context: &mut DemoContext,
    what: &str,
    mut probe: impl FnMut(&DemoContext) -> Result<(), String>,
) -> Result<(), StepError> {
    let start = Instant::now();
    let mut last = String::new();
    let waited = wait::until(what, CONVERGENCE_TIMEOUT, PROBE, || {
        if let Err(error) = routers_alive(context) {
            return Some(Err(error));
        }
        probe(context).map_err(|state| last = state).ok().map(Ok)
    });
    match waited {
        Ok(result) => result,
        Err(waited) => {
            Err(StepError::NotReached { waited: wait::TimedOut { waited: start.elapsed(), ..waited }, last })
        }
    }
}

fn routers_alive(context: &mut DemoContext) -> Result<(), StepError> {
    for (node, router) in &mut context.routers {
        if let Some(status) = router.exit_status().map_err(StepError::Supervise)? {
            let (node, status, log) = ((*node).to_owned(), status.to_string(), router.log_tail());
            return Err(StepError::RouterExited { node, status, log });
        }
    }
    if let Some(cluster) = &mut context.cluster {
        cluster.kubelet().all_alive()?;
    }
    Ok(())
}

/// Waits until the routers of all nodes have moved the NIC into their namespaces.
pub(super) fn await_nics(context: &mut DemoContext) -> Result<(), StepError> {
    await_state(context, "the NIC of both nodes in the router's namespace", |context| {
        let moved = |name: &&str| {
            let links = context.lab.node(name).ok()?.run(&["ip", "-br", "link", "show", "toswitch"]).ok()?;
            (!links.success()).then_some(())
        };
        match NODES.iter().find(|name| moved(name).is_none()) {
            None => Ok(()),
            Some(name) => Err(format!("toswitch is still in the host namespace of {name}")),
        }
    })
}
