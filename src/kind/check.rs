//! Converts the fields of one object to typed values. In: raw fields, and the passwords of Secrets. Out: values, and a rejection
//! for each field that is invalid. It must not stop at the first one. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use ipnet::IpNet;
use thiserror::Error;

use super::bgp::{PrefixRule, SecretKeyRef};
use super::ipam;
use super::object::{ObjectRef, Reason, Rejection, SecretKey};
use super::vtep::Vteps;
use crate::frr::model::PrefixListEntry;
use crate::frr::release::Release;
use crate::kernel::model::{HostNetwork, ObservedNics};
use crate::types::{Family, IfName, Secret, VrfName};

/// The passwords of Secrets; `Err` is the message why one is not available. A message and not an error type, since snapshots are
/// compared and stored on disk.
pub type Secrets = BTreeMap<SecretKey, Result<Secret, String>>;

/// What an object is validated against besides its schema.
#[derive(Debug, Clone, Copy)]
pub struct NodeContext<'a> {
    /// Node index, from 0.
    pub index: u32,
    /// The passwords of the Secrets that objects name.
    pub secrets: &'a Secrets,
    /// The installed release of FRR.
    pub release: Release,
    /// The NICs that objects name; `None` where the node is not at hand.
    pub nics: Option<&'a ObservedNics>,
    /// The networks of the host.
    pub host_networks: &'a BTreeSet<HostNetwork>,
    /// Whether a version of the object is in force.
    pub standing: Standing,
    /// The accepted object that connects the node to the fabric, and the VTEPs that it provides.
    pub fabric: Option<(&'a ObjectRef, &'a Vteps)>,
    /// The IP-VRFs of accepted objects in which others may have a segment.
    pub routing_domains: &'a BTreeMap<ObjectRef, HostedVrf>,
}

/// An IP-VRF in which other objects may have a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedVrf {
    /// Its name.
    pub vrf: VrfName,
    /// VRF device of the host in which the host installs its routes; `None`: the main table.
    pub host_vrf: Option<IfName>,
    /// Address families of its host sessions.
    pub sessions: BTreeSet<Family>,
    /// Prefixes advertised to the host; `None`: all.
    pub to_host: Option<Vec<PrefixListEntry>>,
}

impl HostedVrf {
    /// Whether its host sessions do not advertise a prefix.
    pub fn filters(&self, prefix: &IpNet) -> bool {
        self.sessions.contains(&Family::of(prefix))
            && self.to_host.as_ref().is_some_and(|rules| !rules.iter().any(|rule| rule.matches(prefix)))
    }
}

/// Whether a version of an object is in force on the node, the one that has the strongest claim first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// This one is: it is not to be rejected because of what the node has.
    InForce,
    /// Another one is, and stays if this one is rejected.
    Edited,
    /// None is: there is nothing to keep.
    New,
}

/// The rejections of one object, collected while its fields are converted.
#[derive(Debug)]
pub struct Check<'a> {
    pub(super) object: &'a ObjectRef,
    pub(super) node: NodeContext<'a>,
    rejections: Vec<Rejection>,
}

impl<'a> Check<'a> {
    /// For an object on a node.
    pub fn new(object: &'a ObjectRef, node: NodeContext<'a>) -> Self {
        Self { object, node, rejections: Vec::new() }
    }

    pub(super) fn reject(&mut self, reason: Reason, field: impl Display, message: impl Display) {
        self.rejections.push(Rejection {
            object: self.object.clone(),
            reason,
            location: None,
            field: field.to_string(),
            message: message.to_string(),
        });
    }

    /// The value, or a rejection of the field.
    pub(super) fn value<T, E: Display>(&mut self, field: impl Display, value: Result<T, E>) -> Option<T> {
        value.map_err(|e| self.reject(Reason::Invalid, field, e)).ok()
    }

    /// The value, or a rejection of the field because its pool is too small.
    pub(super) fn pool<T>(&mut self, field: &str, value: Result<T, ipam::PoolTooSmall>) -> Option<T> {
        value.map_err(|e| self.reject(Reason::PoolTooSmall, field, e)).ok()
    }

    /// Parses a prefix without host bits.
    pub(super) fn prefix(&mut self, field: impl Display, text: &str) -> Option<IpNet> {
        let Ok(net) = text.parse::<IpNet>() else {
            self.reject(Reason::Invalid, field, format_args!("{text:?} is not a prefix: write ADDRESS/LENGTH"));
            return None;
        };
        if net != net.trunc() {
            let right = net.trunc();
            self.reject(Reason::Invalid, field, format_args!("{text} has host bits set: write {right}"));
            return None;
        }
        Some(net)
    }

    /// Converts prefix rules to entries of a prefix list; `None` if there are no rules.
    pub(super) fn rules(&mut self, field: &str, rules: Option<&Vec<PrefixRule>>) -> Option<Vec<PrefixListEntry>> {
        let rules = rules?;
        let entries = rules.iter().enumerate().filter_map(|(i, rule)| {
            let prefix = self.prefix(format_args!("{field}[{i}].prefix"), &rule.prefix)?;
            self.value(format_args!("{field}[{i}]"), permit(prefix, rule.ge, rule.le))
        });
        Some(entries.collect())
    }

    /// The password of a Secret.
    pub(super) fn secret(&mut self, field: &str, reference: Option<&SecretKeyRef>) -> Option<Secret> {
        let reference = reference?;
        let key = SecretKey {
            namespace: self.object.namespace.clone(),
            name: reference.name.clone(),
            key: reference.key.clone(),
        };
        match self.node.secrets.get(&key) {
            Some(Ok(secret)) => Some(secret.clone()),
            Some(Err(message)) => {
                let message = message.clone();
                self.reject(Reason::SecretMissing, field, message);
                None
            }
            None => {
                let SecretKey { namespace, name, key } = key;
                let text = format!(
                    "Secret {namespace}/{name} does not exist or has no key {key}: create Secret {name} in namespace \
                     {namespace} with the password in its key {key}"
                );
                self.reject(Reason::SecretMissing, field, text);
                None
            }
        }
    }

    /// Keepalive interval and hold time in seconds; `field` is the path of their parent with a final period.
    pub(super) fn timers(&mut self, field: &str, keepalive: Option<u16>, hold: Option<u16>) -> Option<(u16, u16)> {
        match (keepalive, hold) {
            (None, None) => None,
            // FRR uses and shows at most a third of the hold time (RFC 4271 section 10).
            (Some(k), Some(h)) if h >= 3 && k <= h => Some((k.min(h / 3), h)),
            (Some(0), Some(0)) => Some((0, 0)),
            (Some(_), Some(_)) => {
                let rule = "use a hold time of 0 or at least 3, and a keepalive interval of at most the hold time";
                self.reject(Reason::Invalid, format_args!("{field}holdTimeSeconds"), rule);
                None
            }
            _ => {
                let rule = "set both holdTimeSeconds and keepaliveTimeSeconds, or neither";
                self.reject(Reason::Invalid, format_args!("{field}holdTimeSeconds"), rule);
                None
            }
        }
    }

    /// The value of an object without rejections, or the rejections.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Rejection>> {
        match value {
            Some(value) if self.rejections.is_empty() => Ok(value),
            _ => Err(self.rejections),
        }
    }
}

/// Prefix lengths of a rule that do not fit its prefix.
#[derive(Debug, Error)]
#[error("lengths {low} to {high} do not fit {prefix}: use {} <= ge <= le <= {}", prefix.prefix_len(), prefix.max_prefix_len())]
pub(super) struct PrefixLengthError {
    prefix: IpNet,
    low: u8,
    high: u8,
}

/// A permit entry in the only form that FRR prints back unchanged.
fn permit(prefix: IpNet, ge: Option<u8>, le: Option<u8>) -> Result<PrefixListEntry, PrefixLengthError> {
    let (len, max) = (prefix.prefix_len(), prefix.max_prefix_len());
    let low = ge.unwrap_or(len);
    let high = le.unwrap_or(if ge.is_some() { max } else { len });
    if !(len <= low && low <= high && high <= max) {
        return Err(PrefixLengthError { prefix, low, high });
    }
    let le = if low == len { (high > len).then_some(high) } else { (high < max).then_some(high) };
    Ok(PrefixListEntry { permit: true, prefix, ge: (low > len).then_some(low), le })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("10.0.0.0/8", None, None, Some((None, None)))]
    #[case("10.0.0.0/8", Some(8), None, Some((None, Some(32))))]
    #[case("10.0.0.0/8", Some(24), None, Some((Some(24), None)))]
    #[case("10.0.0.0/8", Some(24), Some(32), Some((Some(24), None)))]
    #[case("10.0.0.0/8", None, Some(8), Some((None, None)))]
    #[case("10.0.0.0/8", Some(16), Some(24), Some((Some(16), Some(24))))]
    #[case("10.0.0.0/8", Some(7), None, None)]
    #[case("10.0.0.0/8", Some(24), Some(16), None)]
    #[case("10.0.0.0/8", None, Some(33), None)]
    fn prefix_rules_are_converted_to_the_form_that_frr_prints(
        #[case] prefix: &str,
        #[case] ge: Option<u8>,
        #[case] le: Option<u8>,
        #[case] want: Option<(Option<u8>, Option<u8>)>,
    ) {
        let got = permit(prefix.parse().unwrap(), ge, le).ok().map(|entry| (entry.ge, entry.le));
        assert_eq!(got, want);
    }
}
