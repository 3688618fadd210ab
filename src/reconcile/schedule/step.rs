//! One step of a reconcile pass as data. `Display` prints it as `perouter plan` does, with passwords masked. Decides and
//! does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::frr::client::port::Presence;
use crate::frr::config::batch::{CommandBatch, CommandMode};
use crate::frr::config::command::Intent;
use crate::kernel::Step as KernelStep;
use crate::scope::Scope;
use crate::types::{IfName, MacAddr, Vni, VrfName};

/// One step. It begins when the one before has ended; a step that failed ends its scope, not the pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleStep {
    /// Kernel operations of one wave: lanes run concurrently, the operations of one lane in order.
    Kernel(Vec<KernelStep>),
    /// Lines for one daemon, in one conversation.
    Frr(CommandBatch),
    /// Prefix lists and route maps for bgpd, which need nothing else and take bgpd long: sent while the steps up to
    /// [`ScheduleStep::AwaitPolicies`] run.
    BeginPolicies(CommandBatch),
    /// Waits for the answers to all [`ScheduleStep::BeginPolicies`].
    AwaitPolicies,
    /// Waits until zebra has, or no longer has, the device or namespace of a VRF.
    AwaitVrf {
        /// The VRF.
        vrf: VrfName,
        /// Which of the two.
        presence: Presence,
    },
    /// Waits until zebra has links: it reads links and addresses from two sockets in two threads, and drops an address
    /// whose link it does not know.
    AwaitLinks {
        /// What waits, and fails if they do not appear.
        scope: Scope,
        /// The VRF.
        vrf: VrfName,
        /// Its links.
        links: BTreeSet<IfName>,
    },
    /// Waits until bgpd has advertised these router MACs; without any, until it has advertised what it has.
    AwaitRouterMacs(BTreeMap<Vni, MacAddr>),
    /// Ends the pass for all IP-VRFs if the default BGP instance with EVPN is not configured: without it the first VXLAN
    /// device crashes bgpd (frr#22851).
    RequireDefaultInstance,
}

impl ScheduleStep {
    /// The scopes that it changes something of.
    pub fn scopes(&self) -> BTreeSet<&Scope> {
        match self {
            Self::Kernel(ops) => ops.iter().map(|step| &step.scope).collect(),
            Self::Frr(batch) | Self::BeginPolicies(batch) => {
                batch.commands.iter().map(|command| &command.scope).collect()
            }
            Self::AwaitPolicies
            | Self::AwaitVrf { .. }
            | Self::AwaitLinks { .. }
            | Self::AwaitRouterMacs(_)
            | Self::RequireDefaultInstance => BTreeSet::new(),
        }
    }

    /// Kernel operations in it.
    pub fn kernel_ops(&self) -> &[KernelStep] {
        if let Self::Kernel(ops) = self { ops } else { &[] }
    }

    /// The batch that it sends.
    pub fn batch(&self) -> Option<&CommandBatch> {
        if let Self::Frr(batch) | Self::BeginPolicies(batch) = self { Some(batch) } else { None }
    }

    /// FRR lines in it that change something, without those that only enter or leave a stanza.
    pub fn frr_lines(&self) -> usize {
        let commands = self.batch().into_iter().flat_map(|batch| &batch.commands);
        commands.filter(|command| command.intent == Intent::Set).count()
    }
}

impl fmt::Display for ScheduleStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(ops) => {
                f.write_str("kernel")?;
                ops.iter().try_for_each(|step| write!(f, "\n  {step}"))
            }
            Self::Frr(batch) => {
                let mode = if batch.mode == CommandMode::Exec { ", exec mode" } else { "" };
                write!(f, "{}{mode}", batch.daemon)?;
                lines(f, batch)
            }
            Self::BeginPolicies(batch) => {
                write!(f, "{}, while the next steps run", batch.daemon)?;
                lines(f, batch)
            }
            Self::AwaitPolicies => f.write_str("wait for the policies"),
            Self::AwaitVrf { vrf, presence: Presence::Active } => write!(f, "wait until zebra has VRF {vrf}"),
            Self::AwaitVrf { vrf, presence: Presence::Gone } => write!(f, "wait until zebra has no VRF {vrf}"),
            Self::AwaitLinks { vrf, links, .. } => {
                let links: Vec<_> = links.iter().map(IfName::as_str).collect();
                write!(f, "wait until zebra has {} in VRF {vrf}", links.join(", "))
            }
            Self::AwaitRouterMacs(macs) if macs.is_empty() => f.write_str("wait until bgpd has advertised all routes"),
            Self::AwaitRouterMacs(macs) => {
                let macs: Vec<_> = macs.iter().map(|(vni, mac)| format!("{mac} for VNI {vni}")).collect();
                write!(f, "wait until bgpd has advertised {}", macs.join(", "))
            }
            Self::RequireDefaultInstance => f.write_str("stop here unless the default BGP instance is in place"),
        }
    }
}

fn lines(f: &mut fmt::Formatter<'_>, batch: &CommandBatch) -> fmt::Result {
    batch.commands.iter().try_for_each(|command| write!(f, "\n  {command}"))
}
