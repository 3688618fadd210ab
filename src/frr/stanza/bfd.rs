//! BFD profiles, one for each session with BFD. Pure.

use serde::Serialize;

use super::policy_names;
use super::rule::{Group, Negation, Rule};
use crate::frr::model::{Bfd, IpVrf, UnderlayInstance};
use crate::frr::release::Defaults;
use crate::types::VrfName;

pub(super) const TEMPLATE: &str = include_str!("bfd.tera");

pub(super) const RULES: &[Rule] = &[
    // Shared by all scopes, so never removed as a whole.
    Rule::stanza(Group::Bfd, "bfd").negated_by(Negation::Empty),
    Rule::stanza(Group::Bfd, "profile *"),
    Rule::value(Group::Bfd, "detect-multiplier =").negated_by(Negation::Default("detect-multiplier 3")),
    Rule::value(Group::Bfd, "transmit-interval =").negated_by(Negation::Default("transmit-interval 300")),
    Rule::value(Group::Bfd, "receive-interval =").negated_by(Negation::Default("receive-interval 300")),
    Rule::line(Group::Bfd, "passive-mode"),
    Rule::value(Group::Bfd, "minimum-ttl ="),
];

#[derive(Serialize)]
pub(super) struct ProfileView {
    name: String,
    detect_multiplier: Option<u8>,
    transmit_interval: Option<u32>,
    receive_interval: Option<u32>,
    passive: bool,
    minimum_ttl: Option<u8>,
}

/// The profiles of the fabric neighbors.
pub(super) fn underlay(instance: &UnderlayInstance, defaults: Defaults) -> Vec<ProfileView> {
    let with_bfd = super::bgp::in_frr_order(&instance.neighbors);
    let with_bfd = with_bfd.filter_map(|(peer, neighbor)| Some((peer, neighbor.bfd.as_ref()?)));
    with_bfd.map(|(peer, bfd)| profile(policy_names::fabric_bfd(peer), bfd, defaults)).collect()
}

/// The profiles of the host sessions.
pub(super) fn vrf(name: &VrfName, vrf: &IpVrf, defaults: Defaults) -> Vec<ProfileView> {
    let with_bfd = vrf.sessions.iter().filter_map(|(family, session)| Some((family, session.neighbor.bfd.as_ref()?)));
    with_bfd.map(|(family, bfd)| profile(policy_names::host_bfd(name, *family), bfd, defaults)).collect()
}

fn profile(name: String, bfd: &Bfd, defaults: Defaults) -> ProfileView {
    ProfileView {
        name,
        detect_multiplier: bfd.detect_multiplier.filter(|count| *count != defaults.bfd_multiplier),
        transmit_interval: bfd.transmit_interval.filter(|ms| *ms != defaults.bfd_interval),
        receive_interval: bfd.receive_interval.filter(|ms| *ms != defaults.bfd_interval),
        passive: bfd.passive,
        minimum_ttl: bfd.minimum_ttl.filter(|ttl| *ttl != defaults.bfd_minimum_ttl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::release::{FRR_8_4, FRR_10_3, Release};
    use rstest::rstest;

    #[rstest]
    #[case(FRR_8_4)]
    #[case(FRR_10_3)]
    fn negations_set_the_defaults(#[case] Release { defaults, .. }: Release) {
        let set: Vec<&str> = RULES
            .iter()
            .filter_map(|rule| match rule.negation {
                Negation::Default(line) => Some(line),
                _ => None,
            })
            .collect();
        let expected = [
            format!("detect-multiplier {}", defaults.bfd_multiplier),
            format!("transmit-interval {}", defaults.bfd_interval),
            format!("receive-interval {}", defaults.bfd_interval),
        ];
        assert_eq!(set, expected);
    }
}
