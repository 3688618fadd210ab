//! FRR's JSON as typed values, without a tree of all of it in between: FRR prints a lot for hundreds of VRFs. In: text.
//! Out: the fields that the reader lists. Unknown keys and values of another shape are ignored, since releases differ; of
//! a duplicate key the last one counts. Pure.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{Deserialize, DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use thiserror::Error;

use crate::printable::printable;

/// FRR printed something other than the requested JSON.
#[derive(Debug, Error)]
#[error("reading `{command}`")]
pub struct ShowError {
    /// The command.
    pub command: &'static str,
    /// Cause.
    #[source]
    pub source: serde_json::Error,
}

/// A struct that is filled from the known fields of an object.
pub(crate) trait Fields: Default {
    /// A known field. An enum, so that [`Fields::set`] has an arm for each and none for unknown keys.
    type Field: Copy + 'static;

    /// The known keys; a field may have several, by release.
    const KEYS: &'static [(&'static str, Self::Field)];

    /// Sets a field from the next value of the object.
    fn set<'de, A: MapAccess<'de>>(&mut self, field: Self::Field, object: &mut A) -> Result<(), A::Error>;
}

/// An object; `None` for any other shape.
pub(crate) struct JsonObject<T>(pub Option<T>);

/// The entries of an object with their keys; none for any other shape.
pub(crate) struct JsonTable<T>(pub Vec<(String, T)>);

/// The members of a list, or the values of an object.
pub(crate) struct List<T>(pub Vec<T>);

/// A string; `None` for any other shape.
#[derive(Default)]
pub(crate) struct Word(pub Option<String>);

/// A number of 0 or more; `None` for any other shape.
#[derive(Default)]
pub(crate) struct Number(pub Option<u64>);

/// What a type reads from each shape of a JSON value. A shape that it does not implement is skipped and reads as
/// [`JsonShape::nothing`].
trait JsonShape<'de>: Sized {
    fn nothing() -> Self;
    fn of_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::nothing())
    }
    fn of_list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::nothing())
    }
    fn of_text(_: &str) -> Self {
        Self::nothing()
    }
    fn of_number(_: u64) -> Self {
        Self::nothing()
    }
}

struct AnyShape<K>(PhantomData<K>);

impl<'de, K: JsonShape<'de>> Visitor<'de> for AnyShape<K> {
    type Value = K;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<K, A::Error> {
        K::of_map(map)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<K, A::Error> {
        K::of_list(list)
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<K, E> {
        Ok(K::of_text(text))
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<K, E> {
        Ok(K::of_number(number))
    }
    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<K, E> {
        Ok(K::nothing())
    }
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<K, E> {
        Ok(K::nothing())
    }
    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<K, E> {
        Ok(K::nothing())
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<K, E> {
        Ok(K::nothing())
    }
}

/// One of these keys, compared without a copy.
struct KnownKey<F: 'static>(&'static [(&'static str, F)]);

impl<'de, F: Copy> DeserializeSeed<'de> for KnownKey<F> {
    type Value = Option<F>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<F: Copy> Visitor<'_> for KnownKey<F> {
    type Value = Option<F>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|(known, _)| *known == key).map(|(_, field)| *field))
    }
}

impl<'de, T: Fields> JsonShape<'de> for JsonObject<T> {
    fn nothing() -> Self {
        Self(None)
    }
    fn of_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut found = T::default();
        while let Some(field) = map.next_key_seed(KnownKey(T::KEYS))? {
            match field {
                Some(field) => found.set(field, &mut map)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Self(Some(found)))
    }
}

impl<'de, T: Deserialize<'de>> JsonShape<'de> for JsonTable<T> {
    fn nothing() -> Self {
        Self(Vec::new())
    }
    fn of_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut found = Vec::new();
        while let Some(entry) = map.next_entry()? {
            found.push(entry);
        }
        Ok(Self(found))
    }
}

impl<'de, T: Deserialize<'de>> JsonShape<'de> for List<T> {
    fn nothing() -> Self {
        Self(Vec::new())
    }
    fn of_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut found = Vec::new();
        while let Some((_, value)) = map.next_entry::<IgnoredAny, T>()? {
            found.push(value);
        }
        Ok(Self(found))
    }
    fn of_list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut found = Vec::new();
        while let Some(value) = list.next_element()? {
            found.push(value);
        }
        Ok(Self(found))
    }
}

impl JsonShape<'_> for Word {
    fn nothing() -> Self {
        Self(None)
    }
    fn of_text(text: &str) -> Self {
        // Peers supply some of it: the name of their host, the reason of a shutdown.
        Self(Some(printable(text).into_owned()))
    }
}

impl JsonShape<'_> for Number {
    fn nothing() -> Self {
        Self(None)
    }
    fn of_number(number: u64) -> Self {
        Self(Some(number))
    }
}

macro_rules! any_shape {
    ($($name:ty $(, $param:ident: $bound:path)?;)*) => {$(
        impl<'de $(, $param: $bound)?> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(AnyShape(PhantomData))
            }
        }
    )*};
}

any_shape! {
    JsonObject<T>, T: Fields;
    JsonTable<T>, T: Deserialize<'de>;
    List<T>, T: Deserialize<'de>;
    Word;
    Number;
}

/// Reads the output of `command`. Without a BGP instance FRR prints nothing, or a line with `%` instead of JSON.
pub(crate) fn read<T: DeserializeOwned>(command: &'static str, text: &str) -> Result<Option<T>, ShowError> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('%') {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|source| ShowError { command, source })
}

/// The output of `command` as a tree.
pub(crate) fn json(command: &'static str, text: &str) -> Result<Value, ShowError> {
    Ok(read(command, text)?.unwrap_or(Value::Null))
}

/// A string field of an object.
pub(crate) fn word(entry: &Value, key: &str) -> Option<String> {
    entry.get(key)?.as_str().map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The same output with keys in each object that no reader knows, before and after the known ones.
    pub(crate) fn with_unknown_keys(text: &str) -> String {
        fn add(value: &mut Value) {
            match value {
                Value::Object(fields) => {
                    fields.values_mut().for_each(add);
                    fields.insert("aaUnknown".to_owned(), "10.9.9.9".into());
                    fields.insert("zzUnknown".to_owned(), 7.into());
                }
                Value::Array(items) => items.iter_mut().for_each(add),
                _ => {}
            }
        }
        let mut value: Value = serde_json::from_str(text).unwrap();
        add(&mut value);
        value.to_string()
    }
}
