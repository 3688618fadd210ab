//! Which nodes an object is for.
//!
//! In: Kubernetes' label selectors and a node's labels. Out: whether they fit. It must not know what the object is.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Labels of a node.
pub type Labels = BTreeMap<String, String>;

/// Label selectors of nodes; one that fits is enough. Without any every node is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct NodeSelectors(Vec<Selector>);

/// Kubernetes' label selector.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Selector {
    #[serde(default)]
    match_labels: Labels,
    #[serde(default)]
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl NodeSelectors {
    /// Those of an object that has one selector or none.
    pub(super) fn one(selector: Option<Selector>) -> Self {
        Self(selector.into_iter().collect())
    }

    /// Whether a node with these labels is meant.
    pub fn select(&self, labels: &Labels) -> bool {
        self.0.is_empty() || self.0.iter().any(|selector| selector.fits(labels))
    }
}

impl Selector {
    fn fits(&self, labels: &Labels) -> bool {
        let equal = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        equal && self.match_expressions.iter().all(|expression| expression.fits(labels))
    }
}

impl Expression {
    fn fits(&self, labels: &Labels) -> bool {
        let label = labels.get(&self.key);
        let listed = label.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
        }
    }
}
