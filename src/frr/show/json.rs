//! JSON of FRR into typed values without a tree of all of it in between: what FRR prints of hundreds of VRFs is large. In:
//! text. Out: the fields that are asked for. What is not of the expected kind is left out and is no error, since releases
//! differ; of a key that is there twice the last one counts. Pure.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{Deserialize, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A struct that takes fields of an object as they come.
pub(crate) trait Fields: Default {
    /// The names of the fields that it takes.
    const NAMES: &'static [&'static str];

    /// Takes the value of the field of this name.
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<(), A::Error>;
}

/// An object; `None` where there is something else.
pub(crate) struct JsonObject<T>(pub Option<T>);

/// The entries of an object with their keys; none where there is something else.
pub(crate) struct JsonTable<T>(pub Vec<(String, T)>);

/// The members of a list, or the values of an object.
pub(crate) struct List<T>(pub Vec<T>);

/// A string; `None` where there is something else.
#[derive(Default)]
pub(crate) struct Word(pub Option<String>);

/// A number of 0 or more; `None` where there is something else.
#[derive(Default)]
pub(crate) struct Number(pub Option<u64>);

/// What a kind makes of the kinds of JSON; all that it does not name is passed over.
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
    fn visit_str<E: Error>(self, text: &str) -> Result<K, E> {
        Ok(K::of_text(text))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<K, E> {
        Ok(K::of_number(number))
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<K, E> {
        Ok(K::nothing())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<K, E> {
        Ok(K::nothing())
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<K, E> {
        Ok(K::nothing())
    }
    fn visit_unit<E: Error>(self) -> Result<K, E> {
        Ok(K::nothing())
    }
}

/// One of the names, without a copy of the key.
struct Name(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().copied().find(|name| *name == key))
    }
}

impl<'de, T: Fields> JsonShape<'de> for JsonObject<T> {
    fn nothing() -> Self {
        Self(None)
    }
    fn of_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut found = T::default();
        while let Some(name) = map.next_key_seed(Name(T::NAMES))? {
            match name {
                Some(name) => found.take(name, &mut map)?,
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
        Self(Some(text.to_owned()))
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
