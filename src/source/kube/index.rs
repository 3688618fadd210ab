//! Which index to claim. In: every claim that there is, and who the node is. Out: what to do. Pure; `claim` does it.

use std::collections::{BTreeMap, BTreeSet};

use crate::kind::NodeIndexSpec;

/// Which index the node would like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The lowest free one.
    Lowest,
    /// The one that it had, if it is free.
    Again(u32),
    /// This one and no other.
    Exactly(u32),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The node has this one.
    Has(u32),
    /// Try to make this one.
    Create(u32),
    /// Another has, for now, what this node must have.
    WaitFor {
        /// The index.
        index: u32,
        /// The node that has it.
        node: String,
    },
}

/// Decides from the claims as they are.
pub(crate) fn decide(claims: &BTreeMap<u32, NodeIndexSpec>, node: &NodeIndexSpec, wish: Wish) -> Decision {
    let ours = |wanted: Option<u32>| {
        claims.iter().find(|(index, claim)| *claim == node && wanted.is_none_or(|wanted| wanted == **index))
    };
    let held = |index: u32| claims.get(&index).map(|claim| claim.node_name.clone());
    if let Wish::Exactly(index) = wish {
        return match (ours(Some(index)), held(index)) {
            (Some((index, _)), _) => Decision::Has(*index),
            (None, Some(node)) => Decision::WaitFor { index, node },
            (None, None) => Decision::Create(index),
        };
    }
    if let Wish::Again(index) = wish
        && ours(Some(index)).is_some()
    {
        return Decision::Has(index);
    }
    if let Some((index, _)) = ours(None) {
        return Decision::Has(*index);
    }
    // The claim of a Node of our name that is gone is ours again as soon as it is collected.
    if let Some((index, stale)) = claims.iter().find(|(_, claim)| claim.node_name == node.node_name) {
        return Decision::WaitFor { index: *index, node: stale.node_name.clone() };
    }
    match wish {
        Wish::Again(index) if held(index).is_none() => Decision::Create(index),
        _ => Decision::Create(lowest_free(claims)),
    }
}

fn lowest_free(claims: &BTreeMap<u32, NodeIndexSpec>) -> u32 {
    let taken: BTreeSet<u32> = claims.keys().copied().collect();
    (0..=u32::MAX).find(|index| !taken.contains(index)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn claim(text: &str) -> NodeIndexSpec {
        let (name, uid) = text.split_once('/').unwrap();
        NodeIndexSpec { node_name: name.into(), node_uid: uid.into() }
    }

    fn wait(index: u32, node: &str) -> Decision {
        Decision::WaitFor { index, node: node.into() }
    }

    #[rstest]
    #[case::first(&[], Wish::Lowest, Decision::Create(0))]
    #[case::next(&[(0, "a/1"), (1, "b/2")], Wish::Lowest, Decision::Create(2))]
    #[case::gap(&[(0, "a/1"), (2, "b/2")], Wish::Lowest, Decision::Create(1))]
    #[case::adopted(&[(0, "a/1"), (7, "n/9")], Wish::Lowest, Decision::Has(7))]
    #[case::adopted_though_lower_is_free(&[(7, "n/9")], Wish::Lowest, Decision::Has(7))]
    #[case::again(&[(0, "a/1")], Wish::Again(5), Decision::Create(5))]
    #[case::again_and_there(&[(3, "n/9"), (5, "n/9")], Wish::Again(5), Decision::Has(5))]
    #[case::again_but_lost(&[(5, "a/1")], Wish::Again(5), Decision::Create(0))]
    #[case::claim_wins_over_wish(&[(3, "n/9")], Wish::Again(5), Decision::Has(3))]
    #[case::former_node_of_our_name(&[(4, "n/8")], Wish::Lowest, wait(4, "n"))]
    #[case::former_node_of_our_name_again(&[(4, "n/8")], Wish::Again(4), wait(4, "n"))]
    #[case::exactly(&[(0, "a/1")], Wish::Exactly(3), Decision::Create(3))]
    #[case::exactly_and_there(&[(3, "n/9")], Wish::Exactly(3), Decision::Has(3))]
    #[case::exactly_besides_another(&[(2, "n/9")], Wish::Exactly(3), Decision::Create(3))]
    #[case::exactly_but_taken(&[(3, "a/1")], Wish::Exactly(3), wait(3, "a"))]
    fn the_claims_decide(#[case] claims: &[(u32, &str)], #[case] wish: Wish, #[case] wanted: Decision) {
        let claims = claims.iter().map(|(index, text)| (*index, claim(text))).collect();
        assert_eq!(decide(&claims, &claim("n/9"), wish), wanted);
    }
}
