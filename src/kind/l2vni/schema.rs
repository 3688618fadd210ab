//! The JSON schemas of the fields that only an L2VNI has, with their CEL rules. In: nothing. Out: schema fragments. A rule must not
//! refer to another object. Pure.

use schemars::{Schema, SchemaGenerator};
use serde_json::json;

use crate::kind::cel::{CIDR_TEXT, NOT_RESERVED, RESERVED, list, string};
use crate::names;

/// The name of a bridge of the host.
pub(super) fn host_bridge(_: &mut SchemaGenerator) -> Schema {
    string(
        15,
        &[
            (
                "self.matches('^[a-zA-Z0-9][a-zA-Z0-9._-]*$')",
                "is not a bridge name: use letters, digits, '-', '_' and '.', starting with a letter or digit",
            ),
            (names::unreserved_rule("self").as_str(), RESERVED),
        ],
    )
}

/// Gateways of a segment, one of each family.
pub(super) fn gateways(_: &mut SchemaGenerator) -> Schema {
    let item = string(
        CIDR_TEXT,
        &[
            (
                "isCIDR(self)",
                "is not an address with a prefix length: write ADDRESS/LENGTH, such as 192.0.2.1/24 or 2001:db8::1/64",
            ),
            (
                "!isCIDR(self) || !(cidr(self).ip() == cidr(self).masked().ip())",
                "is the address of the network: write that of the gateway in it, such as 192.0.2.1/24 or 2001:db8::1/64",
            ),
            (
                "!isCIDR(self) || cidr(self).prefixLength() <= (cidr(self).ip().family() == 4 ? 30 : 126)",
                "has no room for the gateway and a host: use a prefix length of at most 30, or 126 for IPv6",
            ),
            NOT_RESERVED,
        ],
    );
    let mut schema = list("atomic", 2, &item);
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([{
            "rule": "size(self) < 2 || !isCIDR(self[0]) || !isCIDR(self[1]) || \
                     cidr(self[0]).ip().family() != cidr(self[1]).ip().family()",
            "message": "has two gateways of one address family: keep one of each",
        }]),
    );
    schema
}
