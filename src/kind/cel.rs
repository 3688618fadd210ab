//! The validation of fields beyond their types: JSON schemas of strings and lists, and CEL rules that span fields. In:
//! nothing. Out: schema fragments and rules for the derives of the sibling modules; an API server and the directory source
//! validate with the same rules. A message ends with the remedy. A rule must not look outside its object.
//!
//! Every list and string has an upper bound, since an API server rejects a CRD whose rules could cost too much. A rule must
//! have its own guards: CEL also runs on values that violate a pattern. A message that begins with `is` continues a sentence
//! whose subject is the value (`source::messages` puts it in front, the API server shows it as well). Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::names;

/// Length of the longest text of an IPv6 prefix.
pub(super) const CIDR_TEXT: u32 = 43;

/// Length of the longest value of a label.
const MAX_LABEL: u32 = 63;

/// A string of at most this length, with rules and their messages.
pub(super) fn string(max_length: u32, rules: &[(&str, &str)]) -> Schema {
    let rules: Vec<Value> = rules.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect();
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": max_length,
        "x-kubernetes-validations": rules,
    })
}

/// A list of this Kubernetes list type.
pub(super) fn list(kind: &str, max_items: u32, items: &Schema) -> Schema {
    json_schema!({ "type": "array", "x-kubernetes-list-type": kind, "maxItems": max_items, "items": items })
}

/// Of [`names::check_unreserved`].
pub(crate) const RESERVED: &str = "is reserved for links of the kernel and of perouter (lo, sit0, vni100, pe-100 and the like): \
     use another name";

/// A list of these values, each once.
pub(crate) fn choices(values: &[&str]) -> Schema {
    let size = u32::try_from(values.len()).unwrap_or(u32::MAX);
    list("set", size, &json_schema!({ "type": "string", "enum": values }))
}

const NO_HOST_BITS: (&str, &str) = (
    "!isCIDR(self) || cidr(self).ip() == cidr(self).masked().ip()",
    "has host bits set: write the network address, such as 192.0.2.0/24 or 2001:db8::/64",
);

/// Addresses that are never those of a router or host: "this network" (RFC 1122 section 3.2.1.3), loopback, multicast with what
/// is reserved above it (class E, broadcast), and their like in IPv6.
pub(super) const NOT_RESERVED: (&str, &str) = (
    "!isCIDR(self) || !(['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '::/127', 'fe80::/10', 'ff00::/8'].exists(r, \
     cidr(r).containsIP(cidr(self).masked().ip()) || cidr(self).containsIP(cidr(r).ip())))",
    "is not a unicast subnet: do not use or cover 0.0.0.0/8, loopback, multicast, class E (240.0.0.0/4), broadcast or IPv6 \
     link-local addresses",
);

const IPV6_PREFIX: (&str, &str) = (
    "isCIDR(self) && cidr(self).ip().family() == 6",
    "is not an IPv6 prefix: write ADDRESS/LENGTH, such as 2001:db8:10::/64",
);

const UNICAST: (&str, &str) = (
    "!isIP(self) || ip(self).isGlobalUnicast()",
    "is not a unicast address: do not use a loopback, multicast, unspecified or link-local address",
);

/// A prefix of either family.
pub(crate) fn prefix(_: &mut SchemaGenerator) -> Schema {
    string(
        CIDR_TEXT,
        &[
            ("isCIDR(self)", "is not a prefix: write ADDRESS/LENGTH, such as 192.0.2.0/24 or 2001:db8::/64"),
            NO_HOST_BITS,
        ],
    )
}

/// Prefixes of either family, each once, none of which is all addresses.
pub(crate) fn protected_prefixes(_: &mut SchemaGenerator) -> Schema {
    let item = string(
        CIDR_TEXT,
        &[
            ("isCIDR(self)", "is not a prefix: write ADDRESS/LENGTH, such as 10.96.0.0/12 or fd00:10:96::/112"),
            NO_HOST_BITS,
            (
                "!isCIDR(self) || cidr(self).prefixLength() > 0",
                "is every address, so that no VRF would have a route: list the prefixes of nodes, Pods and services",
            ),
        ],
    );
    list("set", 64, &item)
}

/// A pool of addresses of either family.
pub(crate) fn pool(_: &mut SchemaGenerator) -> Schema {
    string(
        CIDR_TEXT,
        &[
            ("isCIDR(self)", "is not a prefix: write ADDRESS/LENGTH, such as 100.65.0.0/24 or 2001:db8::/64"),
            NO_HOST_BITS,
            NOT_RESERVED,
        ],
    )
}

/// A pool of IPv6 addresses.
pub(crate) fn pool_v6(_: &mut SchemaGenerator) -> Schema {
    string(CIDR_TEXT, &[IPV6_PREFIX, NO_HOST_BITS, NOT_RESERVED])
}

/// A pool of router IDs.
pub(crate) fn router_id_pool(_: &mut SchemaGenerator) -> Schema {
    string(
        18,
        &[
            (
                "isCIDR(self) && cidr(self).ip().family() == 4",
                "is not an IPv4 prefix: write ADDRESS/LENGTH, such as 10.0.0.0/24; router IDs have 32 bits (RFC 6286)",
            ),
            NO_HOST_BITS,
        ],
    )
}

/// The IPv4 subnet of a veth pair.
pub(crate) fn subnet_v4(_: &mut SchemaGenerator) -> Schema {
    string(
        18,
        &[
            (
                "isCIDR(self) && cidr(self).ip().family() == 4",
                "is not an IPv4 prefix: write ADDRESS/LENGTH, such as 192.169.10.0/24",
            ),
            NO_HOST_BITS,
            NOT_RESERVED,
            (
                "!isCIDR(self) || cidr(self).ip().family() != 4 || cidr(self).prefixLength() <= 30",
                "is too small for the router and one host: use a prefix length of at most 30, with room for the host of every node",
            ),
        ],
    )
}

/// The IPv6 subnet of a veth pair.
pub(crate) fn subnet_v6(_: &mut SchemaGenerator) -> Schema {
    string(
        CIDR_TEXT,
        &[
            IPV6_PREFIX,
            NO_HOST_BITS,
            NOT_RESERVED,
            (
                "!isCIDR(self) || cidr(self).ip().family() != 6 || cidr(self).prefixLength() <= 126",
                "is too small for the router and one host: use a prefix length of at most 126, with room for the host of every node",
            ),
        ],
    )
}

fn pool_or_address(max_length: u32, family: (&str, &str)) -> Schema {
    string(max_length, &[family, NO_HOST_BITS, NOT_RESERVED, UNICAST])
}

/// A pool of IPv4 addresses, or one address.
pub(crate) fn pool_or_address_v4(_: &mut SchemaGenerator) -> Schema {
    let family = (
        "isIP(self) ? ip(self).family() == 4 : isCIDR(self) && cidr(self).ip().family() == 4",
        "is neither an IPv4 prefix nor an IPv4 address: write one such as 10.9.0.0/24 or 10.9.0.7",
    );
    pool_or_address(18, family)
}

/// A pool of IPv6 addresses, or one address.
pub(crate) fn pool_or_address_v6(_: &mut SchemaGenerator) -> Schema {
    let family = (
        "isIP(self) ? ip(self).family() == 6 : isCIDR(self) && cidr(self).ip().family() == 6",
        "is neither an IPv6 prefix nor an IPv6 address: write one such as 2001:db8:9::/64 or 2001:db8:9::7",
    );
    pool_or_address(CIDR_TEXT, family)
}

/// The address of a BGP neighbor.
pub(crate) fn address(_: &mut SchemaGenerator) -> Schema {
    string(
        39,
        &[
            ("isIP(self)", "is not an IP address: write it without a prefix length, such as 192.0.2.1 or 2001:db8::1"),
            (
                "!isIP(self) || ip(self).isGlobalUnicast() || (ip(self).family() == 4 && ip(self).isLinkLocalUnicast())",
                "is not a valid peer address: use a unicast address; for an IPv6 link-local peer set `interface` instead",
            ),
        ],
    )
}

/// The name of a NIC.
pub(crate) fn nic(_: &mut SchemaGenerator) -> Schema {
    string(
        15,
        &[
            (
                "self.matches('^[a-zA-Z0-9][a-zA-Z0-9._-]*$')",
                "is not an interface name: use letters, digits, '-', '_' and '.', starting with a letter or digit",
            ),
            (names::unreserved_rule("self").as_str(), RESERVED),
        ],
    )
}

/// The name of a VRF device of the host.
pub(crate) fn host_vrf(_: &mut SchemaGenerator) -> Schema {
    string(
        15,
        &[
            (
                "self.matches('^[a-zA-Z0-9][a-zA-Z0-9._-]*$')",
                "is not a VRF device name: use letters, digits, '-', '_' and '.', starting with a letter or digit",
            ),
            (
                "!(self in ['default', 'lo'])",
                "is not a VRF device: remove the field to leave the host end of the veth pair where it is",
            ),
        ],
    )
}

/// NICs, each once.
pub(crate) fn nics(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = list("set", 16, &nic(generator));
    schema.insert("minItems".to_owned(), 1.into());
    schema
}

/// The name of an IP-VRF.
pub(crate) fn vrf(_: &mut SchemaGenerator) -> Schema {
    string(
        15,
        &[
            (
                "self.matches('^[a-zA-Z][a-zA-Z0-9_-]*$')",
                "is not a VRF name: use letters, digits, '-' and '_', starting with a letter",
            ),
            (names::unreserved_rule("self").as_str(), RESERVED),
        ],
    )
}

/// The name of a Secret.
pub(crate) fn secret_name(_: &mut SchemaGenerator) -> Schema {
    string(
        253,
        &[(
            "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
            "is not a Secret name: use lower case letters, digits, '-' and '.', starting and ending with a letter or digit",
        )],
    )
}

/// A key of a Secret.
pub(crate) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    string(
        253,
        &[(
            "self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",
            "is not a Secret key: use letters, digits, '-', '_' and '.'",
        )],
    )
}

/// Route targets of one direction (RFC 4360 section 4, RFC 5668 section 2).
pub(crate) fn route_targets(_: &mut SchemaGenerator) -> Schema {
    let item = string(
        26,
        &[(
            "self.matches('^([1-9][0-9]{0,9}|[0-9]{1,3}([.][0-9]{1,3}){3}):(0|[1-9][0-9]{0,9})$') && \
             (self.contains('.') \
             ? isIP(self.split(':')[0]) && int(self.split(':')[1]) <= 65535 \
             : int(self.split(':')[0]) <= 4294967295 && int(self.split(':')[1]) <= 4294967295 && \
             (int(self.split(':')[0]) <= 65535 || int(self.split(':')[1]) <= 65535))",
            "is not a route target: write ASN:NUMBER or IPV4:NUMBER, such as 64514:100; NUMBER is at most 65535 after an address or an AS number above 65535",
        )],
    );
    list("set", 64, &item)
}

/// Communities (RFC 1997), as FRR prints them.
pub(crate) fn communities(_: &mut SchemaGenerator) -> Schema {
    let item = string(
        17,
        &[(
            "self in ['no-export', 'no-advertise', 'local-AS', 'blackhole', 'graceful-shutdown'] || \
             (self.matches('^(0|[1-9][0-9]{0,4}):(0|[1-9][0-9]{0,4})$') && \
             self.split(':').all(half, int(half) <= 65535))",
            "is not a community: write ASN:NUMBER with at most 65535 each, or no-export, no-advertise, local-AS, blackhole, graceful-shutdown",
        )],
    );
    list("set", 32, &item)
}

/// A label selector, bounded and with the rules that the API server applies to selectors of its own kinds.
pub(crate) fn node_selector(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = LabelSelector::json_schema(generator);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        if let Some(labels) = properties.get_mut("matchLabels") {
            labels["maxProperties"] = json!(64);
            labels["additionalProperties"]["maxLength"] = json!(MAX_LABEL);
        }
        if let Some(expressions) = properties.get_mut("matchExpressions") {
            expressions["maxItems"] = json!(32);
            let item = &mut expressions["items"];
            item["properties"]["key"]["maxLength"] = json!(317);
            item["properties"]["operator"]["enum"] = json!(["In", "NotIn", "Exists", "DoesNotExist"]);
            item["properties"]["values"]["maxItems"] = json!(64);
            item["properties"]["values"]["items"]["maxLength"] = json!(MAX_LABEL);
            item["x-kubernetes-validations"] = json!([{
                "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                "message": "In and NotIn require values, Exists and DoesNotExist must not have any",
            }]);
        }
    }
    schema
}

fn rule(rule: &str, message: &str) -> Rule {
    Rule::new(rule).message(message)
}

/// The values of a hold time (RFC 4271 section 4.2).
pub(crate) fn hold_time() -> Rule {
    rule(
        "self == 0 || self >= 3",
        "is not a hold time: use 0 (no keepalives) or 3 to 65535 seconds (RFC 4271 section 4.2)",
    )
}

/// FRR has both timers in one command.
pub(crate) fn timers_together() -> Rule {
    rule(
        "has(self.holdTimeSeconds) == has(self.keepaliveTimeSeconds)",
        "holdTimeSeconds and keepaliveTimeSeconds depend on each other: set both or neither",
    )
}

/// The keepalive interval is at most the hold time.
pub(crate) fn timers_order() -> Rule {
    rule(
        "!has(self.holdTimeSeconds) || !has(self.keepaliveTimeSeconds) || self.holdTimeSeconds == 0 || self.keepaliveTimeSeconds <= self.holdTimeSeconds",
        "is greater than holdTimeSeconds: use at most a third of it (RFC 4271 section 10)",
    )
    .field_path(".keepaliveTimeSeconds")
}

/// A hold time of 0 and a keepalive interval of 0 require each other.
pub(crate) fn timers_zero() -> Rule {
    rule(
        "!has(self.holdTimeSeconds) || !has(self.keepaliveTimeSeconds) || (self.holdTimeSeconds == 0) == (self.keepaliveTimeSeconds == 0)",
        "is not allowed with this holdTimeSeconds: set both to 0 (no keepalives) or neither",
    )
    .field_path(".keepaliveTimeSeconds")
}

/// `ge` is at least the length of the prefix.
pub(crate) fn prefix_rule_ge() -> Rule {
    rule(
        "!has(self.ge) || !isCIDR(self.prefix) || self.ge >= cidr(self.prefix).prefixLength()",
        "is less than the length of `prefix`: use at least that length",
    )
    .field_path(".ge")
}

/// `le` is at least the length of the prefix.
pub(crate) fn prefix_rule_le() -> Rule {
    rule(
        "!has(self.le) || !isCIDR(self.prefix) || self.le >= cidr(self.prefix).prefixLength()",
        "is less than the length of `prefix`: use at least that length",
    )
    .field_path(".le")
}

/// `ge` is at most `le`.
pub(crate) fn prefix_rule_order() -> Rule {
    rule("!has(self.ge) || !has(self.le) || self.ge <= self.le", "is less than `ge`: swap them or remove one")
        .field_path(".le")
}

/// `ge` and `le` are at most the length of an address.
pub(crate) fn prefix_rule_family() -> Rule {
    rule(
        "!isCIDR(self.prefix) || cidr(self.prefix).ip().family() == 6 || ((!has(self.ge) || self.ge <= 32) && (!has(self.le) || self.le <= 32))",
        "`ge` and `le` of an IPv4 prefix are at most 32",
    )
}
