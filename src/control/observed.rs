//! What the controller reads each time that it reads FRR, besides sessions and VNIs, for checks and metrics. In: the status and the
//! plan. Out: [`Observed`], without what could not be read. Changes nothing. What costs more is read by others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnose::facts::Facts;
use crate::diagnose::{Finding, check};
use crate::frr::client::port::Routing;
use crate::frr::model::RouterConfig;
use crate::frr::show::session::{SessionKey, SessionPhase, SessionState};
use crate::kernel::Kernel;
use crate::plan::Plan;
use crate::reconcile::{PassError, Reconciler};
use crate::status::NodeStatus;
use crate::status::metrics::Observed;

/// Sessions of hosts that are down and whose details are read each time, at most.
const AT_ONCE: usize = 16;

/// Reads it.
pub(super) async fn read<K: Kernel, R: Routing>(
    reconciler: &mut Reconciler<K, R>,
    status: &NodeStatus,
    plan: &Arc<Plan>,
) -> Observed {
    let is_down = |session: &&SessionState| session.phase != SessionPhase::Established && session.vrf.is_some();
    let down: BTreeSet<SessionKey> =
        status.sessions.iter().filter(is_down).take(AT_ONCE).map(SessionState::key).collect();
    let neighbors = or_none("no details of sessions", reconciler.neighbors(&down).await);
    let nics: BTreeMap<_, _> = or_none("no NICs", reconciler.nics().await);
    // Without BFD there is nothing to read.
    let bfd = if has_bfd(&plan.frr) { or_none("no BFD sessions", reconciler.bfd_peers().await) } else { Vec::new() };
    Observed { plan: Arc::clone(plan), neighbors, bfd, nics }
}

/// What is wrong, with what the checks of routes have found. Without FRR, which has none of them, nothing is known of what it does: it is
/// what is wrong then.
pub(super) fn findings(status: &mut NodeStatus, observed: &Observed, of_routes: Option<Vec<Finding>>) -> Vec<Finding> {
    let mut found = status.with_facts(|facts| {
        if of_routes.is_some() {
            facts.neighbors.clone_from(&observed.neighbors);
            facts.bfd.clone_from(&observed.bfd);
            return check::findings(facts);
        }
        let Facts { now, silent, kept_ports, objects, notes, .. } = facts.clone();
        check::findings(&Facts { now, silent, kept_ports, objects, notes, ..Facts::default() })
    });
    found.extend(of_routes.into_iter().flatten());
    check::sort(&mut found);
    found
}

fn has_bfd(config: &RouterConfig) -> bool {
    let fabric = config.underlay.iter().flat_map(|underlay| underlay.neighbors.values());
    let hosts = config.vrfs.values().flat_map(|ip_vrf| ip_vrf.sessions.values()).map(|session| &session.neighbor);
    fabric.chain(hosts).any(|neighbor| neighbor.bfd.is_some())
}

fn or_none<T: Default>(what: &str, result: Result<T, PassError>) -> T {
    result.unwrap_or_else(|error| {
        tracing::debug!(error = &error as &dyn std::error::Error, "{what}");
        T::default()
    })
}
