//! Takes the fields of one object to values and collects its mistakes. Pure.

use std::collections::BTreeMap;
use std::fmt::Display;

use ipnet::IpNet;

use super::bgp::{PrefixRule, SecretKeyRef};
use super::ipam;
use super::object::{ObjectRef, Reason, Rejection, SecretKey};
use crate::frr::model::PrefixListEntry;
use crate::frr::release::Release;
use crate::types::Secret;

/// The words of Secrets by key; `Err` says why one is not available.
pub type Secrets = BTreeMap<SecretKey, Result<Secret, String>>;

/// What an object is judged by besides its spec.
#[derive(Debug, Clone, Copy)]
pub struct NodeContext<'a> {
    /// Node index, 0 and up.
    pub index: u32,
    /// What the Secrets hold that objects name.
    pub secrets: &'a Secrets,
    /// The installed release of FRR.
    pub release: Release,
}

/// Collects the mistakes of one object.
#[derive(Debug)]
pub struct Check<'a> {
    pub(super) object: &'a ObjectRef,
    pub(super) node: NodeContext<'a>,
    found: Vec<Rejection>,
}

impl<'a> Check<'a> {
    /// For an object on a node.
    pub fn new(object: &'a ObjectRef, node: NodeContext<'a>) -> Self {
        Self { object, node, found: Vec::new() }
    }

    pub(super) fn reject(&mut self, reason: Reason, field: impl Display, message: impl Display) {
        self.found.push(Rejection {
            object: self.object.clone(),
            reason,
            location: None,
            field: field.to_string(),
            message: message.to_string(),
        });
    }

    /// Keeps a value or notes why it is not one.
    pub(super) fn take<T, E: Display>(&mut self, field: impl Display, value: Result<T, E>) -> Option<T> {
        value.map_err(|e| self.reject(Reason::Invalid, field, e)).ok()
    }

    pub(super) fn pool<T>(&mut self, field: &str, value: Result<T, ipam::PoolTooSmall>) -> Option<T> {
        value.map_err(|e| self.reject(Reason::PoolTooSmall, field, e)).ok()
    }

    /// A prefix without host bits.
    pub(super) fn prefix(&mut self, field: impl Display, text: &str) -> Option<IpNet> {
        let Ok(net) = text.parse::<IpNet>() else {
            self.reject(Reason::Invalid, field, format_args!("{text:?} is not a prefix: write ADDRESS/LENGTH"));
            return None;
        };
        if net != net.trunc() {
            let right = net.trunc();
            self.reject(Reason::Invalid, field, format_args!("{text} has bits set beyond its length: write {right}"));
            return None;
        }
        Some(net)
    }

    pub(super) fn rules(&mut self, field: &str, rules: Option<&Vec<PrefixRule>>) -> Option<Vec<PrefixListEntry>> {
        let rules = rules?;
        let entries = rules.iter().enumerate().filter_map(|(i, rule)| {
            let prefix = self.prefix(format_args!("{field}[{i}].prefix"), &rule.prefix)?;
            self.take(format_args!("{field}[{i}]"), permit(prefix, rule.ge, rule.le))
        });
        Some(entries.collect())
    }

    pub(super) fn secret(&mut self, field: &str, reference: Option<&SecretKeyRef>) -> Option<Secret> {
        let reference = reference?;
        let key = SecretKey {
            namespace: self.object.namespace.clone(),
            name: reference.name.clone(),
            key: reference.key.clone(),
        };
        match self.node.secrets.get(&key) {
            Some(Ok(secret)) => Some(secret.clone()),
            Some(Err(why)) => {
                let why = why.clone();
                self.reject(Reason::SecretMissing, field, why);
                None
            }
            None => {
                let text = format!("Secret {}/{} has no key {}: create it", key.namespace, key.name, key.key);
                self.reject(Reason::SecretMissing, field, text);
                None
            }
        }
    }

    pub(super) fn timers(&mut self, field: &str, keepalive: Option<u16>, hold: Option<u16>) -> Option<(u16, u16)> {
        match (keepalive, hold) {
            (None, None) => None,
            // FRR uses and shows at most a third of the hold time (RFC 4271 section 10).
            (Some(k), Some(h)) if h >= 3 && k <= h => Some((k.min(h / 3), h)),
            (Some(0), Some(0)) => Some((0, 0)),
            (Some(_), Some(_)) => {
                let rule = "use a hold time of 0 or at least 3 and a keepalive time of at most the hold time";
                self.reject(Reason::Invalid, format_args!("{field}holdTimeSeconds"), rule);
                None
            }
            _ => {
                let rule = "set both holdTimeSeconds and keepaliveTimeSeconds, or none";
                self.reject(Reason::Invalid, format_args!("{field}holdTimeSeconds"), rule);
                None
            }
        }
    }

    /// The value of an object without a mistake, or its mistakes.
    pub fn done<T>(self, value: Option<T>) -> Result<T, Vec<Rejection>> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(self.found),
        }
    }
}

/// A permit entry in the only form that FRR prints back unchanged.
pub(super) fn permit(prefix: IpNet, ge: Option<u8>, le: Option<u8>) -> Result<PrefixListEntry, String> {
    let (len, max) = (prefix.prefix_len(), prefix.max_prefix_len());
    let low = ge.unwrap_or(len);
    let high = le.unwrap_or(if ge.is_some() { max } else { len });
    if !(len <= low && low <= high && high <= max) {
        return Err(format!("lengths {low} to {high} do not fit {prefix}: use {len} <= ge <= le <= {max}"));
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
    fn prefix_rules_become_the_form_that_frr_prints(
        #[case] prefix: &str,
        #[case] ge: Option<u8>,
        #[case] le: Option<u8>,
        #[case] want: Option<(Option<u8>, Option<u8>)>,
    ) {
        let got = permit(prefix.parse().unwrap(), ge, le).ok().map(|entry| (entry.ge, entry.le));
        assert_eq!(got, want);
    }
}
