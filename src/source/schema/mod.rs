//! Validates one object as an API server would: with the generated `openAPIV3Schema`, its defaults, list types and CEL rules,
//! and without unknown fields, as kubectl's strict validation. In: JSON. Out: a typed spec, or every violation. It must not look
//! at other objects.

mod rules;

use std::collections::BTreeMap;

use jsonschema::{ValidationError, Validator};
use kube::core::cel::{CompilationError, apply_defaults};
use serde_json::{Map, Value, json};
use thiserror::Error;

use self::rules::{BrokenRule, CelRules, Evaluator};
pub use super::messages::Violation;
use super::messages::{self, MAX_VIOLATIONS};
use super::yaml::join_path;
use crate::kind::crds::{self, CrdError};
use crate::kind::{Kind, Spec};

/// Why a schema cannot be used.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// The definition cannot be derived.
    #[error(transparent)]
    Definition(#[from] CrdError),
    /// The structural part is not a JSON schema.
    #[error("the schema of {kind} does not compile")]
    Structure {
        /// Its kind.
        kind: Kind,
        /// The cause.
        source: Box<ValidationError<'static>>,
    },
    /// A rule is not CEL.
    #[error("a rule of {kind} does not compile")]
    Rule {
        /// Its kind.
        kind: Kind,
        /// The cause.
        source: CompilationError,
    },
}

/// The compiled schemas of every kind.
#[derive(Debug)]
pub struct Schemas {
    by_kind: BTreeMap<Kind, Schema>,
    evaluator: Evaluator,
}

#[derive(Debug)]
struct Schema {
    /// As in the CRD.
    openapi: Value,
    /// The same with unknown fields forbidden.
    strict: Value,
    structure: Validator,
    rules: CelRules,
}

impl Schemas {
    /// Compiles the schemas of every kind.
    pub fn new() -> Result<Self, SchemaError> {
        let compiled = Kind::ALL.iter().map(|kind| Ok((*kind, Schema::new(*kind)?)));
        Ok(Self { by_kind: compiled.collect::<Result<_, SchemaError>>()?, evaluator: Evaluator::new() })
    }

    /// The spec of `object` with its defaults, or its violations, sorted by field: all of them, or the first
    /// [`MAX_VIOLATIONS`] and a note. Of a list that is too long, the CEL rules see the items within its limit: they are made for
    /// no more.
    pub fn validate(&self, kind: Kind, object: &Value) -> Result<Spec, Vec<Violation>> {
        self.validate_within(&mut { usize::MAX }, kind, object)
    }

    /// The same where the rules of this object are evaluated only if what it takes is within `budget`, which it reduces.
    pub(crate) fn validate_within(
        &self,
        budget: &mut usize,
        kind: Kind,
        object: &Value,
    ) -> Result<Spec, Vec<Violation>> {
        let Some(schema) = self.by_kind.get(&kind) else {
            let message = format!("{kind} has no schema: use {}", Kind::alternatives());
            return Err(vec![Violation { field: "kind".to_owned(), message }]);
        };
        let mut object = object.clone();
        prune_nulls(&mut object);
        let mut object = apply_defaults(&schema.openapi, &object);
        let mut violations = schema.structural(&object);
        limit_sizes(&schema.openapi, &mut object);
        duplicate_items(&schema.openapi, &object, "", &mut violations);
        leading_zeros(&schema.openapi, &object, "", &mut violations);
        prune(&schema.openapi, &mut object);
        let left = budget.checked_sub(schema.rules.cost(&object));
        *budget = left.unwrap_or_default();
        violations.extend(match left {
            Some(_) => schema.broken_rules(&self.evaluator, &object, &violations),
            None => vec![messages::too_much()],
        });
        violations.sort();
        violations.dedup();
        if violations.len() > MAX_VIOLATIONS {
            violations.truncate(MAX_VIOLATIONS);
            violations.push(messages::more());
        }
        if violations.is_empty() { parse_spec(kind, &object) } else { Err(violations) }
    }
}

impl Schema {
    fn new(kind: Kind) -> Result<Self, SchemaError> {
        let openapi = crds::schema(kind)?;
        let mut strict = openapi.clone();
        for (field, schema) in [("apiVersion", json!({})), ("kind", json!({})), ("metadata", json!({"type": "object"}))]
        {
            strict["properties"][field] = schema;
        }
        forbid_unknown(&mut strict);
        let structure = jsonschema::validator_for(&strict)
            .map_err(|source| SchemaError::Structure { kind, source: Box::new(source) })?;
        let rules = CelRules::compile(&openapi).map_err(|source| SchemaError::Rule { kind, source })?;
        Ok(Self { openapi, strict, structure, rules })
    }

    /// The violations of the structural schema, few more than are reported.
    fn structural(&self, object: &Value) -> Vec<Violation> {
        let mut violations = Vec::new();
        for error in self.structure.iter_errors(object) {
            violations.extend(messages::structural(&error, &self.strict));
            if violations.len() > MAX_VIOLATIONS {
                break;
            }
        }
        violations
    }

    /// The CEL rules that `object` violates. Where there are structural violations, a rule that cannot be evaluated, that concerns
    /// such a field or that compares the value of one adds nothing.
    fn broken_rules(&self, evaluator: &Evaluator, object: &Value, structural: &[Violation]) -> Vec<Violation> {
        let reported = |path: &str| structural.iter().any(|violation| violation.field == path);
        // An item beyond the limit of its list is no part of the object.
        let fields = structural.iter().map(|violation| violation.field.as_str());
        let wrong: Vec<&str> = fields.filter(|field| messages::value_at(object, field).is_some()).collect();
        let broken = evaluator.broken(&self.rules, object).into_iter();
        broken
            .filter(|rule| structural.is_empty() || rule.is_evaluated)
            .filter(|rule| !wrong.iter().any(|field| rule.compares(field)))
            .map(|BrokenRule { field, message, .. }| messages::cel_rule(field, message, object))
            .filter(|violation| !reported(&violation.field))
            .collect()
    }
}

fn parse_spec(kind: Kind, object: &Value) -> Result<Spec, Vec<Violation>> {
    let spec = object.get("spec").cloned().unwrap_or_default();
    Spec::from_json(kind, spec)
        .map_err(|error| vec![Violation { field: "spec".to_owned(), message: error.to_string() }])
}

/// The API server drops a null in a field that is not nullable, and no field of ours is.
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

/// Removes what no rule may name, as the API server does: fields that the schema does not have, and all metadata but the name.
fn prune(schema: &Value, object: &mut Value) {
    let metadata = object.get("metadata").filter(|metadata| metadata.is_object());
    let metadata = metadata.map(|metadata| metadata.get("name").map_or(json!({}), |name| json!({"name": name})));
    prune_unknown(schema, object);
    if let (Some(metadata), Some(fields)) = (metadata, object.as_object_mut()) {
        fields.insert("metadata".to_owned(), metadata);
    }
}

/// A mapping without a list of its fields keeps all.
fn prune_unknown(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let Some(Value::Object(properties)) = schema.get("properties") else { return };
            fields.retain(|name, value| {
                let known = properties.get(name);
                if let Some(schema) = known {
                    prune_unknown(schema, value);
                }
                known.is_some()
            });
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    prune_unknown(schema, item);
                }
            }
        }
        _ => {}
    }
}

/// Cuts lists and mappings off at the limits of the schema.
fn limit_sizes(schema: &Value, value: &mut Value) {
    let limit =
        |keyword: &str| schema.get(keyword).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    match value {
        Value::Object(fields) => {
            if let Some(most) = limit("maxProperties").filter(|most| *most < fields.len()) {
                *fields = std::mem::take(fields).into_iter().take(most).collect();
            }
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, schema) in properties.into_iter().flatten() {
                if let Some(value) = fields.get_mut(name) {
                    limit_sizes(schema, value);
                }
            }
        }
        Value::Array(items) => {
            items.truncate(limit("maxItems").unwrap_or(usize::MAX));
            if let Some(schema) = schema.get("items") {
                for item in items.iter_mut() {
                    limit_sizes(schema, item);
                }
            }
        }
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

/// An IPv4 address with a leading zero, which `isIP` and `isCIDR` of the API server reject and those of the kube crate accept.
fn leading_zeros(schema: &Value, value: &Value, path: &str, violations: &mut Vec<Violation>) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, schema) in properties.into_iter().flatten() {
                if let Some(value) = fields.get(name) {
                    leading_zeros(schema, value, &join_path(path, name), violations);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leading_zeros(
                    schema.get("items").unwrap_or(&Value::Null),
                    item,
                    &format!("{path}[{index}]"),
                    violations,
                );
            }
        }
        Value::String(text) => {
            let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
            let is_address = rules
                .filter_map(|rule| rule.get("rule")?.as_str())
                .any(|rule| rule.contains("isIP(self)") || rule.contains("isCIDR(self)"));
            let address = text.split('/').next().unwrap_or_default();
            let has_zero = |part: &str| part.len() > 1 && part.starts_with('0');
            if is_address && address.contains('.') && !address.contains(':') && address.split('.').any(has_zero) {
                violations.push(messages::leading_zero(path, text));
            }
        }
        _ => {}
    }
}

/// `x-kubernetes-list-type`: the items of a set, and the keys of a map, must be unique.
fn duplicate_items(schema: &Value, value: &Value, path: &str, violations: &mut Vec<Violation>) {
    match value {
        Value::Object(fields) => {
            let none = Map::new();
            let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
            for (name, schema) in properties {
                if let Some(value) = fields.get(name) {
                    duplicate_items(schema, value, &join_path(path, name), violations);
                }
            }
        }
        Value::Array(items) => {
            let mut first_of: BTreeMap<String, usize> = BTreeMap::new();
            for (index, key) in list_keys(schema, items).into_iter().enumerate() {
                let Some(key) = key else { continue };
                let first = *first_of.entry(key.to_string()).or_insert(index);
                if first != index {
                    violations.push(messages::duplicate_item(path, index, first, &key));
                }
            }
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    duplicate_items(schema, item, &format!("{path}[{index}]"), violations);
                }
            }
        }
        _ => {}
    }
}

/// What must be unique of each item; `None` where an item has no key. Empty for a list without a type.
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
