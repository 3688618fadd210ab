//! Which index to claim. In: every existing claim, who the node is, and which index it prefers. Out: what to do next. It must
//! not make calls: `claim` does. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::kind::NodeIndexSpec;

/// Which index an administrator has chosen for the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexChoice {
    /// None: the previous one, or else the lowest free one.
    Free,
    /// This one.
    Fixed(u32),
    /// The number in this label of the Node.
    NodeLabel(String),
}

impl IndexChoice {
    /// The index, where it is known without the API server.
    pub fn fixed(&self) -> Option<u32> {
        match self {
            Self::Fixed(index) => Some(*index),
            Self::Free | Self::NodeLabel(_) => None,
        }
    }
}

/// The Node whose index is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimingNode {
    pub(crate) uid: String,
    /// That of its label, where that counts.
    pub(crate) index: Option<u32>,
}

/// Which index the node prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexPreference {
    /// The lowest free one.
    LowestFree,
    /// The one that it had, if it is free.
    Previous(u32),
    /// This one and no other.
    Fixed(u32),
}

impl IndexPreference {
    /// That of a choice and of the index that the node had. A label counts as soon as the Node is known.
    pub(crate) fn new(choice: &IndexChoice, previous: Option<u32>) -> Self {
        match (choice, previous) {
            (IndexChoice::Fixed(index), _) => Self::Fixed(*index),
            (_, Some(previous)) => Self::Previous(previous),
            (_, None) => Self::LowestFree,
        }
    }

    /// The same once a stale claim of this node is deleted: its index stays the same.
    pub(crate) fn after_stale(self, index: u32) -> Self {
        if self == Self::LowestFree { Self::Previous(index) } else { self }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClaimDecision {
    /// Nothing: the node has claimed this index.
    Claimed(u32),
    /// Try to create the claim of this index.
    Create(u32),
    /// Delete the claim of this index: it is that of a former Node of the same name, or was made under this name by somebody
    /// else, and garbage collection may never delete it.
    DeleteStale(u32),
    /// Wait for a claim of another Node to be deleted.
    WaitFor {
        /// The index.
        index: u32,
        /// Name of the Node that has claimed it.
        node: String,
    },
}

/// Decides from the claims as they are.
pub(crate) fn decide(
    claims: &BTreeMap<u32, NodeIndexSpec>,
    node: &NodeIndexSpec,
    preference: IndexPreference,
) -> ClaimDecision {
    let own = |wanted: Option<u32>| {
        claims.iter().find(|(index, claim)| *claim == node && wanted.is_none_or(|wanted| wanted == **index))
    };
    let holder = |index: u32| claims.get(&index).map(|claim| claim.node_name.clone());
    if let IndexPreference::Fixed(index) = preference {
        return match (own(Some(index)), holder(index)) {
            (Some((index, _)), _) => ClaimDecision::Claimed(*index),
            (None, Some(name)) if name == node.node_name => ClaimDecision::DeleteStale(index),
            (None, Some(node)) => ClaimDecision::WaitFor { index, node },
            (None, None) => ClaimDecision::Create(index),
        };
    }
    if let IndexPreference::Previous(index) = preference
        && own(Some(index)).is_some()
    {
        return ClaimDecision::Claimed(index);
    }
    if let Some((index, _)) = own(None) {
        return ClaimDecision::Claimed(*index);
    }
    if let Some((index, _)) = claims.iter().find(|(_, claim)| claim.node_name == node.node_name) {
        return ClaimDecision::DeleteStale(*index);
    }
    match preference {
        IndexPreference::Previous(index) if holder(index).is_none() => ClaimDecision::Create(index),
        _ => ClaimDecision::Create(lowest_free(claims)),
    }
}

fn lowest_free(claims: &BTreeMap<u32, NodeIndexSpec>) -> u32 {
    let claimed: BTreeSet<u32> = claims.keys().copied().collect();
    (0..=u32::MAX).find(|index| !claimed.contains(index)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::ClaimDecision::{Claimed, Create, DeleteStale};
    use super::IndexPreference::{Fixed, LowestFree, Previous};
    use super::*;
    use rstest::rstest;

    fn claim(text: &str) -> NodeIndexSpec {
        let (name, uid) = text.split_once('/').unwrap();
        NodeIndexSpec { node_name: name.into(), node_uid: uid.into() }
    }

    fn wait(index: u32, node: &str) -> ClaimDecision {
        ClaimDecision::WaitFor { index, node: node.into() }
    }

    #[rstest]
    #[case::first(&[], LowestFree, Create(0))]
    #[case::next(&[(0, "a/1"), (1, "b/2")], LowestFree, Create(2))]
    #[case::gap(&[(0, "a/1"), (2, "b/2")], LowestFree, Create(1))]
    #[case::adopted(&[(0, "a/1"), (7, "n/9")], LowestFree, Claimed(7))]
    #[case::adopted_though_lower_is_free(&[(7, "n/9")], LowestFree, Claimed(7))]
    #[case::previous(&[(0, "a/1")], Previous(5), Create(5))]
    #[case::previous_and_claimed(&[(3, "n/9"), (5, "n/9")], Previous(5), Claimed(5))]
    #[case::previous_but_lost(&[(5, "a/1")], Previous(5), Create(0))]
    #[case::claim_wins_over_preference(&[(3, "n/9")], Previous(5), Claimed(3))]
    #[case::former_node_of_the_same_name(&[(4, "n/8")], LowestFree, DeleteStale(4))]
    #[case::former_node_of_the_same_name_with_previous(&[(4, "n/8")], Previous(4), DeleteStale(4))]
    #[case::former_node_of_the_same_name_beside_the_own(&[(4, "n/8"), (5, "n/9")], LowestFree, Claimed(5))]
    #[case::fixed(&[(0, "a/1")], Fixed(3), Create(3))]
    #[case::fixed_and_claimed(&[(3, "n/9")], Fixed(3), Claimed(3))]
    #[case::fixed_besides_another(&[(2, "n/9")], Fixed(3), Create(3))]
    #[case::fixed_and_of_the_former_node(&[(3, "n/8")], Fixed(3), DeleteStale(3))]
    #[case::fixed_but_claimed_by_another(&[(3, "a/1")], Fixed(3), wait(3, "a"))]
    fn the_claims_decide(
        #[case] claims: &[(u32, &str)],
        #[case] preference: IndexPreference,
        #[case] wanted: ClaimDecision,
    ) {
        let claims = claims.iter().map(|(index, text)| (*index, claim(text))).collect();
        assert_eq!(decide(&claims, &claim("n/9"), preference), wanted);
    }
}
