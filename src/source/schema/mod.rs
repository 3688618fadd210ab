//! Judges one object as an API server would: the generated `openAPIV3Schema` with its defaults, list types and CEL
//! rules, and unknown fields as kubectl's strict validation has them. In: JSON. Out: a typed spec, or every violation.

use std::collections::BTreeMap;

use jsonschema::{ValidationError, Validator};
use kube::core::cel::{self, CompiledSchema, ErrorKind, compile_schema};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::messages;
use super::yaml::join;
use crate::kind::crds::{self, CrdError};
use crate::kind::{Kind, Spec};

/// Why a schema is unusable.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// There is no definition.
    #[error(transparent)]
    Definition(#[from] CrdError),
    /// The structural part is no JSON schema.
    #[error("the schema of {kind} does not compile")]
    Structure {
        /// Its kind.
        kind: Kind,
        /// The cause.
        source: Box<ValidationError<'static>>,
    },
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Path of the field, such as `spec.neighbors[0].asn`.
    pub field: String,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// The compiled schemas of every kind.
#[derive(Debug)]
pub struct Schemas {
    of_kind: BTreeMap<Kind, Schema>,
    rules: cel::Validator,
}

#[derive(Debug)]
struct Schema {
    /// As in the CRD.
    plain: Value,
    /// The same with unknown fields forbidden.
    strict: Value,
    structure: Validator,
    rules: CompiledSchema,
}

impl Schemas {
    /// Compiles the schemas of every kind.
    pub fn new() -> Result<Self, SchemaError> {
        let compiled = Kind::ALL.iter().map(|kind| Ok((*kind, Schema::new(*kind)?)));
        Ok(Self { of_kind: compiled.collect::<Result<_, SchemaError>>()?, rules: cel::Validator::new() })
    }

    /// The spec of `object`, or all that is wrong with it, in the order of the fields' paths.
    pub fn judge(&self, kind: Kind, object: &Value) -> Result<Spec, Vec<Violation>> {
        let Some(schema) = self.of_kind.get(&kind) else {
            let message = format!("{kind} has no schema: use {}", Kind::alternatives());
            return Err(vec![Violation { field: "kind".to_owned(), message }]);
        };
        let mut object = object.clone();
        prune_nulls(&mut object);
        let object = cel::apply_defaults(&schema.plain, &object);
        let mut violations = schema.structural(&object);
        let broken_rules = schema.broken_rules(&self.rules, &object, &violations);
        violations.extend(broken_rules);
        violations.sort();
        violations.dedup();
        if violations.is_empty() { typed(kind, &object) } else { Err(violations) }
    }
}

impl Schema {
    fn new(kind: Kind) -> Result<Self, SchemaError> {
        let plain = crds::schema(kind)?;
        let mut strict = plain.clone();
        for (field, schema) in [("apiVersion", json!({})), ("kind", json!({})), ("metadata", json!({"type": "object"}))]
        {
            strict["properties"][field] = schema;
        }
        forbid_unknown(&mut strict);
        let structure = jsonschema::validator_for(&strict)
            .map_err(|source| SchemaError::Structure { kind, source: Box::new(source) })?;
        Ok(Self { rules: compile_schema(&plain), plain, strict, structure })
    }

    fn structural(&self, object: &Value) -> Vec<Violation> {
        let mut violations = Vec::new();
        for error in self.structure.iter_errors(object) {
            violations.extend(messages::of_structure(&error, &self.strict));
        }
        repeated(&self.plain, object, "", &mut violations);
        violations
    }

    /// The CEL rules that `object` breaks. Where fields are structurally wrong, a rule that could not be evaluated or
    /// that judges such a field tells nothing new.
    fn broken_rules(&self, rules: &cel::Validator, object: &Value, structural: &[Violation]) -> Vec<Violation> {
        let Err(errors) = rules.validate_compiled(&self.rules, object, None) else { return Vec::new() };
        let told = |path: &str| structural.iter().any(|violation| violation.field == path);
        errors
            .into_iter()
            .filter(|error| structural.is_empty() || error.kind == ErrorKind::ValidationFailure)
            .map(|error| messages::of_rule(&error, object))
            .filter(|violation| !told(&violation.field))
            .collect()
    }
}

fn typed(kind: Kind, object: &Value) -> Result<Spec, Vec<Violation>> {
    let spec = object.get("spec").cloned().unwrap_or_default();
    Spec::from_json(kind, spec)
        .map_err(|error| vec![Violation { field: "spec".to_owned(), message: error.to_string() }])
}

/// The API server drops a null in a field that is not nullable, and none of ours is.
fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

fn forbid_unknown(schema: &mut Value) {
    let Value::Object(keywords) = schema else { return };
    if keywords.contains_key("properties") && !keywords.contains_key("additionalProperties") {
        keywords.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        properties.values_mut().for_each(forbid_unknown);
    }
    if let Some(items) = keywords.get_mut("items") {
        forbid_unknown(items);
    }
}

/// `x-kubernetes-list-type`: the items of a set, and the keys of a map, are there once.
fn repeated(schema: &Value, value: &Value, path: &str, violations: &mut Vec<Violation>) {
    match value {
        Value::Object(fields) => {
            let none = Map::new();
            let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
            for (name, schema) in properties {
                if let Some(value) = fields.get(name) {
                    repeated(schema, value, &join(path, name), violations);
                }
            }
        }
        Value::Array(items) => {
            let keys = list_keys(schema, items);
            for (index, key) in keys.iter().enumerate() {
                let before = keys.iter().take(index).position(|other| key.is_some() && other == key);
                if let Some(first) = before {
                    violations.push(messages::of_repetition(path, index, first, key.as_ref()));
                }
            }
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    repeated(schema, item, &format!("{path}[{index}]"), violations);
                }
            }
        }
        _ => {}
    }
}

/// What must not repeat, for each item; `None` where nothing is said.
fn list_keys(schema: &Value, items: &[Value]) -> Vec<Option<Value>> {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => items.iter().cloned().map(Some).collect(),
        Some("map") => {
            let keys: Vec<&str> = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array)
                .map(|keys| keys.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            items
                .iter()
                .map(|item| keys.iter().map(|key| item.get(*key).cloned()).collect::<Option<Vec<_>>>().map(Value::from))
                .collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
