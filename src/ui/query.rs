//! The requests of the page. In: the query of a URL. Out: typed values, or what is wrong in it. Pure.

use std::str::FromStr;

use thiserror::Error;

use crate::diagnose::trace::TraceQuery;
use crate::types::VrfName;

/// The longest query: addresses and names are short.
const LONGEST: usize = 512;

/// Why a request cannot be answered.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum QueryError {
    /// A part that is needed is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value is none.
    #[error("invalid value '{value}' for {name}: {reason}")]
    Invalid {
        /// The name of the part.
        name: &'static str,
        /// Its value.
        value: String,
        /// Why.
        reason: String,
    },
    /// The query is longer than any of the page.
    #[error("the query is longer than {LONGEST} bytes")]
    TooLong,
}

/// Which path: `to`, and perhaps `from` and `vrf`.
pub fn trace_query(query: Option<&str>) -> Result<TraceQuery, QueryError> {
    let of = QueryFields::new(query)?;
    let to = of.value("to")?.ok_or(QueryError::Missing("to"))?;
    Ok(TraceQuery { to, from: of.value("from")?, vrf: of.value("vrf")? })
}

/// Which VRF: `vrf`.
pub fn vrf_query(query: Option<&str>) -> Result<VrfName, QueryError> {
    QueryFields::new(query)?.value("vrf")?.ok_or(QueryError::Missing("vrf"))
}

struct QueryFields<'a>(&'a str);

impl<'a> QueryFields<'a> {
    fn new(query: Option<&'a str>) -> Result<Self, QueryError> {
        let query = query.unwrap_or_default();
        if query.len() > LONGEST { Err(QueryError::TooLong) } else { Ok(Self(query)) }
    }

    /// The first value of a name; an empty one is none.
    fn value<T: FromStr<Err: ToString>>(&self, name: &'static str) -> Result<Option<T>, QueryError> {
        let mut fields = form_urlencoded::parse(self.0.as_bytes());
        let Some((_, value)) = fields.find(|(key, _)| key == name) else { return Ok(None) };
        let value = value.trim();
        if value.is_empty() {
            return Ok(None);
        }
        let invalid = |error: T::Err| QueryError::Invalid { name, value: value.to_owned(), reason: error.to_string() };
        value.parse().map(Some).map_err(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn a_path_has_its_ends_and_its_vrf() {
        let expected =
            TraceQuery { to: "2001:db8::1".parse().unwrap(), from: "192.0.2.1".parse().ok(), vrf: "red".parse().ok() };
        assert_eq!(trace_query(Some("to=2001%3Adb8%3a%3a1&from=+192.0.2.1&vrf=red")), Ok(expected));
        let short = TraceQuery { to: "192.0.2.1".parse().unwrap(), from: None, vrf: None };
        assert_eq!(trace_query(Some("to=192.0.2.1&from=&vrf=")), Ok(short));
        assert_eq!(vrf_query(Some("vrf=red")).unwrap().as_str(), "red");
    }

    #[rstest]
    #[case::none("", "to is missing")]
    #[case::empty("to=&from=1.2.3.4", "to is missing")]
    #[case::no_value("to", "to is missing")]
    #[case::no_address("to=a%20b", "invalid value 'a b' for to: invalid IP address syntax")]
    #[case::from("to=1.2.3.4&from=1.2.3", "invalid value '1.2.3' for from: invalid IP address syntax")]
    #[case::broken_encoding("to=%zz%", "invalid value '%zz%' for to: invalid IP address syntax")]
    #[case::not_utf8("to=%ff%", "invalid value '\u{fffd}%' for to: invalid IP address syntax")]
    fn a_mistake_is_named(#[case] query: &str, #[case] message: &str) {
        assert_eq!(trace_query(Some(query)).unwrap_err().to_string(), message);
    }

    #[test]
    fn a_vrf_has_a_name_of_a_vrf() {
        let error = vrf_query(Some("vrf=red%20vni%201")).unwrap_err().to_string();
        assert!(error.starts_with("invalid value 'red vni 1' for vrf: "), "{error}");
        assert_eq!(vrf_query(None), Err(QueryError::Missing("vrf")));
        assert_eq!(trace_query(Some(&format!("to={}", "1".repeat(LONGEST)))), Err(QueryError::TooLong));
    }
}
