//! The `CustomResourceDefinition`s, in the form in which an API server accepts them without a warning. In: the derived definitions
//! of the kinds. Out: JSON for the directory source, YAML for `crds/`. It must not change what a schema accepts. Pure.

use std::fmt;

use kube::CustomResourceExt;
use serde_json::{Map, Number, Value};
use thiserror::Error;

use super::{GROUP, Kind, NodeIndex, RouterNodeStatus};

/// Why a definition cannot be generated.
#[derive(Debug, Error)]
pub enum CrdError {
    /// The derived definition does not serialize.
    #[error("the derived definition of {kind} does not serialize")]
    Json {
        /// Its kind.
        kind: Definition,
        /// The cause.
        source: serde_json::Error,
    },
    /// The definition does not serialize to YAML.
    #[error("the definition of {kind} cannot be written as YAML")]
    Yaml {
        /// Its kind.
        kind: Definition,
        /// The cause.
        source: serde_saphyr::ser::Error,
    },
}

/// An object type that has a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Definition {
    /// A kind that users write.
    Configuration(Kind),
    /// [`NodeIndex`], which the controllers write.
    NodeIndex,
    /// [`RouterNodeStatus`], which the controllers write.
    RouterNodeStatus,
}

impl Definition {
    /// Every definition, in the order of the names of their files.
    pub fn all() -> Vec<Self> {
        let kinds = Kind::ALL.iter().copied().map(Self::Configuration);
        let mut all: Vec<Self> = kinds.chain([Self::NodeIndex, Self::RouterNodeStatus]).collect();
        all.sort_by_key(|definition| definition.as_str());
        all
    }

    /// As in the `kind` field of an object.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration(kind) => kind.as_str(),
            Self::NodeIndex => "NodeIndex",
            Self::RouterNodeStatus => "RouterNodeStatus",
        }
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every definition as file name and YAML text.
pub fn crds() -> Result<Vec<(String, String)>, CrdError> {
    Definition::all()
        .into_iter()
        .map(|kind| {
            let definition = definition(kind)?;
            let plural = definition.pointer("/spec/names/plural").and_then(Value::as_str).unwrap_or_default();
            let name = format!("{GROUP}_{plural}.yaml");
            let text = serde_saphyr::to_string(&definition).map_err(|source| CrdError::Yaml { kind, source })?;
            Ok((name, text))
        })
        .collect()
}

/// The definition of one kind.
pub fn definition(kind: Definition) -> Result<Value, CrdError> {
    let derived = match kind {
        Definition::Configuration(kind) => kind.crd(),
        Definition::NodeIndex => Some(NodeIndex::crd()),
        Definition::RouterNodeStatus => Some(RouterNodeStatus::crd()),
    };
    let mut value = serde_json::to_value(derived).map_err(|source| CrdError::Json { kind, source })?;
    normalize(&mut value);
    Ok(value)
}

/// The `openAPIV3Schema` of one kind.
pub fn schema(kind: Kind) -> Result<Value, CrdError> {
    let mut definition = definition(Definition::Configuration(kind))?;
    Ok(definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").map(Value::take).unwrap_or_default())
}

/// Drops what the API server warns of (`format: uint32`) and what complicates CEL rules (`nullable`: without it the server
/// drops a null before the rules see it), makes each description one paragraph, and writes whole numbers as such.
fn normalize(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            normalize_keywords(fields);
            fields.values_mut().for_each(normalize);
        }
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *number = whole;
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn normalize_keywords(fields: &mut Map<String, Value>) {
    if fields.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        fields.remove("format");
    }
    if fields.get("nullable").is_some_and(Value::is_boolean) {
        fields.remove("nullable");
    }
    if let Some(Value::String(description)) = fields.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}

/// `Some` for a float without fraction that an `i64` represents exactly.
fn whole(number: &Number) -> Option<Number> {
    let float = number.as_f64().filter(|_| number.is_f64())?;
    format!("{float:.0}").parse::<i64>().ok().filter(|_| float.fract() == 0.0).map(Number::from)
}

#[cfg(test)]
mod tests;
