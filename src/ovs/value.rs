//! Values of columns (RFC 7047 section 5.1). In: JSON. Out: sets, maps and row ids, and the same as JSON. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::error::OvsError;

/// The `_uuid` of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId(String);

impl RowId {
    /// Of its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As a value.
    pub fn json(&self) -> Value {
        json!(["uuid", self.0])
    }
}

/// The members of a set; one atom is a set, too.
fn members(value: &Value) -> Vec<&Value> {
    match value.as_array().map(Vec::as_slice) {
        Some([tag, Value::Array(members)]) if tag == "set" => members.iter().collect(),
        _ => vec![value],
    }
}

/// A set of row ids.
pub fn ids(value: &Value) -> Result<BTreeSet<RowId>, OvsError> {
    let id = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([tag, Value::String(id)]) if tag == "uuid" => Ok(RowId::new(id.as_str())),
        _ => Err(OvsError::Unexpected("row id")),
    };
    members(value).into_iter().map(id).collect()
}

/// A set of strings.
pub fn strings(value: &Value) -> Result<BTreeSet<String>, OvsError> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(OvsError::Unexpected("set of strings"));
    members(value).into_iter().map(text).collect()
}

/// A string.
pub fn string(value: &Value) -> Result<String, OvsError> {
    value.as_str().map(str::to_owned).ok_or(OvsError::Unexpected("string"))
}

/// An integer.
pub fn integer(value: &Value) -> Result<i64, OvsError> {
    value.as_i64().ok_or(OvsError::Unexpected("integer"))
}

/// An integer, or none.
pub fn optional_integer(value: &Value) -> Result<Option<i64>, OvsError> {
    members(value).first().map(|value| integer(value)).transpose()
}

/// A map of strings.
pub fn map(value: &Value) -> Result<BTreeMap<String, String>, OvsError> {
    let Some([tag, Value::Array(pairs)]) = value.as_array().map(Vec::as_slice) else {
        return Err(OvsError::Unexpected("map"));
    };
    let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
        Some([Value::String(key), Value::String(value)]) if tag == "map" => Ok((key.clone(), value.clone())),
        _ => Err(OvsError::Unexpected("map")),
    };
    pairs.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_atom_is_a_set() {
        let id = |text: &str| RowId::new(text);
        assert_eq!(ids(&json!(["uuid", "a"])).unwrap(), [id("a")].into());
        assert_eq!(ids(&json!(["set", [["uuid", "a"], ["uuid", "b"]]])).unwrap(), [id("a"), id("b")].into());
        assert_eq!(ids(&json!(["set", []])).unwrap(), [].into());
        assert_eq!(optional_integer(&json!(7)).unwrap(), Some(7));
        assert_eq!(optional_integer(&json!(["set", []])).unwrap(), None);
        assert_eq!(strings(&json!("set")).unwrap(), ["set".to_owned()].into());
        assert_eq!(map(&json!(["map", [["k", "v"]]])).unwrap(), [("k".to_owned(), "v".to_owned())].into());
    }

    #[test]
    fn another_shape_is_an_error() {
        for value in [json!(7), json!(null), json!({}), json!(["set", ["a"]]), json!(["uuid", 7]), json!(["map", [1]])]
        {
            assert!(ids(&value).is_err() && map(&value).is_err(), "{value}");
        }
    }
}
