//! What else is in a file, for whoever validates it. In: its text. Out: documents that are no objects of perouter, passwords of Secrets,
//! and warnings about objects that are valid and may not mean what they say. It reads no file.

use std::collections::BTreeMap;
use std::ops::Range;

use k8s_openapi::ByteString;
use serde_json::Value;

use super::document::is_meant_for_us;
use super::secret::{self, PasswordError};
use super::yaml::{self, YamlNode};
use crate::kind::{GROUP, SecretKey, VERSION};
use crate::printable::printable;
use crate::types::Secret;

/// The API group of `OpenPERouter`.
const OPENPEROUTER: &str = "network.openperouter.io";

/// A document that perouter ignores.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SkippedDocument {
    /// Its `apiVersion` and `kind`.
    pub what: String,
    /// Its line.
    pub line: u64,
    /// It is of `OpenPERouter`.
    pub of_openperouter: bool,
}

/// What may not be meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Its line.
    pub line: u64,
    /// Path of the field.
    pub field: String,
    /// What, and the remedy.
    pub message: String,
}

/// A Secret, without its passwords.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SurveyedSecret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: Vec<String>,
}

/// What a file has besides its objects.
#[derive(Debug, Default)]
pub struct Survey {
    /// Documents of other API groups, other than Secrets.
    pub skipped: Vec<SkippedDocument>,
    /// Passwords of Secrets; of one that cannot be used, why not.
    pub passwords: BTreeMap<SecretKey, Result<Secret, String>>,
    /// The Secrets.
    pub secrets: Vec<SurveyedSecret>,
    /// Objects of perouter, each with the lines before its document.
    objects: Vec<(u64, YamlNode)>,
    /// Warnings.
    pub warnings: Vec<Warning>,
    /// The specs of objects, each with the line of its session subnets.
    pub specs: Vec<(u64, Value)>,
    /// Lines that may have passwords: those of Secrets; of a file that is not YAML and may have a Secret, all.
    pub secret_lines: Vec<Range<u64>>,
    /// Nothing but comments and blanks.
    pub is_empty: bool,
}

/// Surveys the text of a file. Documents that are not YAML are left out: they are rejected elsewhere.
pub fn survey(text: &str) -> Survey {
    let mut found = Survey { is_empty: true, ..Survey::default() };
    let mut left = yaml::nodes_of_file(text.len());
    let parts = yaml::split_documents(text);
    let ends = parts.iter().skip(1).map(|(offset, _)| offset + 1).chain([u64::MAX]);
    for ((offset, part), end) in parts.iter().zip(ends) {
        let Ok(documents) = yaml::parse_within(&mut left, part) else {
            found.is_empty = false;
            found.secret_lines.extend(may_have_secret(text).then_some(0..u64::MAX));
            continue;
        };
        found.secret_lines.extend(documents.iter().any(is_secret).then_some(offset + 1..end));
        for node in &documents {
            found.is_empty = false;
            found.add(node, *offset);
        }
    }
    found
}

/// Whether a document is a Secret, a list with one, or has the fields of one.
fn is_secret(node: &YamlNode) -> bool {
    let kind = node.get("kind").and_then(YamlNode::text).unwrap_or_default();
    kind.to_ascii_lowercase().contains("secret")
        || (kind != "ConfigMap" && node.get("data").is_some())
        || node.get("stringData").is_some()
        || node.get("items").and_then(YamlNode::items).into_iter().flatten().any(is_secret)
}

/// Whether a text that is not YAML has a word of a Secret. `passwordSecret` of a host session is none.
fn may_have_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let begins_a_word = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric());
    text.contains("stringdata") || text.match_indices("secret").any(|(at, _)| begins_a_word(at))
}

impl Survey {
    /// The line of a field of the object whose name is in line `name`, or of what would have the field.
    pub fn line_of(&self, name: u64, field: &str) -> Option<u64> {
        let is_it = |(offset, node): &&(u64, YamlNode)| offset + node.line_of("metadata.name") == name;
        self.objects.iter().find(is_it).map(|(offset, node)| offset + node.line_of(field))
    }

    fn add(&mut self, node: &YamlNode, offset: u64) {
        let text = |key| node.get(key).and_then(YamlNode::text).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if kind.ends_with("List") && node.get("items").is_some() {
            node.get("items").and_then(YamlNode::items).into_iter().flatten().for_each(|item| self.add(item, offset));
            return;
        }
        match (api_version.split_once('/').map_or("", |(group, _)| group), api_version, kind) {
            (_, "", _) | (_, _, "") => {}
            (_, "v1", "Secret") => self.add_secret(&node.to_value()),
            (GROUP, ..) => self.add_object(node, offset),
            // It is rejected.
            (group, _, kind) if is_meant_for_us(group, kind) => {}
            (group, ..) => self.skipped.push(SkippedDocument {
                what: printable(&format!("{api_version} {kind}")).into_owned(),
                line: offset + node.line,
                of_openperouter: group == OPENPEROUTER,
            }),
        }
    }

    fn add_secret(&mut self, object: &Value) {
        let name = |path| object.pointer(path).and_then(Value::as_str);
        let Some(secret_name) = name("/metadata/name") else { return };
        let namespace = name("/metadata/namespace").unwrap_or("default");
        let plain = object["stringData"].as_object().into_iter().flatten();
        let plain = plain.map(|(key, value)| (key, value.as_str().unwrap_or_default().as_bytes().to_vec()));
        let encoded = object["data"].as_object().into_iter().flatten();
        let encoded = encoded.map(|(key, value)| (key, serde_json::from_value::<ByteString>(value.clone())));
        let encoded =
            encoded.map(|(key, bytes)| (key, bytes.map(|bytes| bytes.0).map_err(|_| PasswordError::NotBase64)));
        let mut keys = Vec::new();
        for (key, bytes) in encoded.chain(plain.map(|(key, bytes)| (key, Ok(bytes)))) {
            let password = bytes.and_then(|bytes| secret::password(&bytes)).map_err(|error| {
                let remedy = match error {
                    PasswordError::NotBase64 => ": encode it, or write it below `stringData` as it is",
                    _ => "",
                };
                printable(&format!("Secret {secret_name}: {key} {error}{remedy}")).into_owned()
            });
            keys.push(key.clone());
            let key = SecretKey { namespace: namespace.to_owned(), name: secret_name.to_owned(), key: key.clone() };
            self.passwords.insert(key, password);
        }
        self.secrets.push(SurveyedSecret { namespace: namespace.to_owned(), name: secret_name.to_owned(), keys });
    }

    fn add_object(&mut self, node: &YamlNode, offset: u64) {
        let value = node.to_value();
        self.objects.push((offset, node.clone()));
        self.specs.push((offset + node.line_of("spec.localcidr"), value["spec"].clone()));
        let mut warn = |field: &str, message: String| {
            self.warnings.push(Warning { line: offset + node.line_of(field), field: field.to_owned(), message });
        };
        if value.pointer("/metadata/namespace").is_none() {
            let message = "is missing: `default` is used; write the namespace of the controller, which is the one that it reads in a cluster";
            warn("metadata.namespace", message.to_owned());
        }
        for list in ["fromHost", "toHost", "toFabric"] {
            let prefixes = value.pointer(&format!("/spec/{list}/allowedPrefixes")).and_then(Value::as_array);
            for (place, item) in prefixes.into_iter().flatten().enumerate() {
                let Some(prefix) = item["prefix"].as_str().and_then(|text| text.parse::<ipnet::IpNet>().ok()) else {
                    continue;
                };
                let is_exact = item.get("le").is_none() && item.get("ge").is_none();
                // The default route is meant alone.
                if is_exact && prefix.prefix_len() > 0 && prefix.prefix_len() < prefix.max_prefix_len() {
                    let message = format!(
                        "{prefix} without `le` is this prefix alone: add `le: {}` for those inside, or ignore this where the \
                         prefix itself is advertised",
                        prefix.max_prefix_len()
                    );
                    warn(&format!("spec.{list}.allowedPrefixes[{place}]"), message);
                }
            }
        }
    }
}

/// Warnings that need several objects: a session subnet with the address of a leaf. `specs` are those of all objects as JSON.
pub fn subnets_with_neighbors(specs: &[(u64, Value)]) -> Vec<(usize, Warning)> {
    let neighbors = specs.iter().flat_map(|(_, spec)| spec["neighbors"].as_array().into_iter().flatten());
    let neighbors: Vec<std::net::IpAddr> =
        neighbors.filter_map(|neighbor| neighbor["address"].as_str()?.parse().ok()).collect();
    let of_spec = |(place, (line, spec)): (usize, &(u64, Value))| {
        let subnets = spec["localcidr"].as_object().into_iter().flatten();
        let subnets =
            subnets.filter_map(|(family, net)| Some((family.clone(), net.as_str()?.parse::<ipnet::IpNet>().ok()?)));
        let found = subnets.filter_map(|(family, net)| {
            let leaf = neighbors.iter().find(|address| net.contains(*address))?;
            let message = format!(
                "{net} has the address {leaf} of a neighbor of the Underlay, which no host in the VRF can reach then: use a subnet \
                 of this node alone"
            );
            Some((place, Warning { line: *line, field: format!("spec.localcidr.{family}"), message }))
        });
        found.collect::<Vec<_>>()
    };
    specs.iter().enumerate().flat_map(of_spec).collect()
}

/// Keys of a Secret that a message has, at most.
const MAX_KEYS: usize = 5;

/// Why none of the Secrets has the password of a key, where one of them may be meant to.
pub fn why_no_password<'a>(key: &SecretKey, secrets: impl Iterator<Item = &'a SurveyedSecret>) -> Option<String> {
    let SecretKey { namespace, name, key } = key;
    let secrets: Vec<&SurveyedSecret> = secrets.filter(|secret| secret.name == *name).collect();
    let message = if let Some(secret) = secrets.iter().find(|secret| secret.namespace == *namespace) {
        let keys: Vec<&str> = secret.keys.iter().take(MAX_KEYS).map(String::as_str).collect();
        let keys = match (keys.as_slice(), secret.keys.len().checked_sub(MAX_KEYS + 1)) {
            ([], _) => "no keys".to_owned(),
            ([key], _) => format!("the key {key}"),
            (_, None) => format!("the keys {}", keys.join(", ")),
            (_, Some(_)) => format!("the keys {} and others", keys.join(", ")),
        };
        format!(
            "Secret {name} in the input has {keys}, and not `{key}`: write the password into this key, or name another one"
        )
    } else {
        let other = &secrets.first()?.namespace;
        format!(
            "Secret {name} in the input is in namespace {other}, and the object in {namespace}: put both into one namespace"
        )
    };
    Some(printable(&message).into_owned())
}

/// What to say of documents that are skipped, by what they are.
pub fn skipped_message(what: &str, count: usize, of_openperouter: bool) -> String {
    let documents = if count == 1 { "document" } else { "documents" };
    if of_openperouter {
        format!(
            "{count} {documents} of OpenPERouter skipped ({what}): write them for {GROUP}/{VERSION}, as docs/migration.md says"
        )
    } else {
        format!("{count} {documents} skipped: {what} is no object of perouter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn documents_of_others_secrets_and_doubtful_objects_are_found() {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\n---\napiVersion: {OPENPEROUTER}/v1alpha1\nkind: L3VNI\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: bgp, namespace: ns}}\ndata: {{a: aHVudGVyMg==, b: '!'}}\nstringData: {{c: 'x y'}}\n---\n\
             apiVersion: {GROUP}/{VERSION}\nkind: L3VNI\nmetadata: {{name: red}}\nspec:\n  fromHost:\n    allowedPrefixes:\n    \
             - {{prefix: 10.0.0.0/8}}\n    - {{prefix: 10.0.0.0/8, le: 32}}\n    - {{prefix: 0.0.0.0/0}}\n    - {{prefix: 10.0.0.1/32}}\n"
        );
        let found = survey(&text);
        let skipped: Vec<_> = found.skipped.iter().map(|s| (s.line, s.what.as_str(), s.of_openperouter)).collect();
        assert_eq!(skipped, [(1, "v1 ConfigMap", false), (5, "network.openperouter.io/v1alpha1 L3VNI", true)]);
        let key = |key: &str| SecretKey { namespace: "ns".into(), name: "bgp".into(), key: key.into() };
        assert_eq!(found.passwords[&key("a")].as_ref().unwrap().expose(), "hunter2");
        assert!(found.passwords[&key("c")].is_err());
        let error = found.passwords[&key("b")].as_ref().unwrap_err();
        assert_eq!(error, "Secret bgp: b is not base64: encode it, or write it below `stringData` as it is");
        let warnings: Vec<_> = found.warnings.iter().map(|w| (w.line, w.field.as_str())).collect();
        assert_eq!(warnings, [(16, "metadata.namespace"), (20, "spec.fromHost.allowedPrefixes[0]")]);
        assert!(survey("# nothing\n").is_empty && !found.is_empty);
        assert_eq!(found.secret_lines, std::slice::from_ref(&(7..13)), "from its separator to the next one");
    }

    #[rstest]
    #[case::another_key(
        ("ns", "pw", "password"),
        Some("Secret pw in the input has the keys a, b, and not `password`: write the password into this key, or name another one")
    )]
    #[case::no_key(
        ("ns", "empty", "password"),
        Some("Secret empty in the input has no keys, and not `password`: write the password into this key, or name another one")
    )]
    #[case::another_namespace(
        ("x", "pw", "a"),
        Some("Secret pw in the input is in namespace ns, and the object in x: put both into one namespace")
    )]
    #[case::none(("ns", "other", "a"), None)]
    fn a_secret_without_the_password_is_named(#[case] asked: (&str, &str, &str), #[case] expected: Option<&str>) {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: pw, namespace: ns}\nstringData: {a: x, b: y}\n---\n\
                    apiVersion: v1\nkind: Secret\nmetadata: {name: empty, namespace: ns}\n";
        let (namespace, name, key) = asked;
        let key = SecretKey { namespace: namespace.into(), name: name.into(), key: key.into() };
        assert_eq!(why_no_password(&key, survey(text).secrets.iter()).as_deref(), expected);
    }

    #[test]
    fn a_field_has_its_line_in_the_file() {
        let object = |name: &str| {
            format!("apiVersion: {GROUP}/{VERSION}\nkind: L3VNI\nmetadata:\n  name: {name}\nspec:\n  vni: 1\n")
        };
        let found = survey(&format!("{}---\n{}", object("a"), object("b")));
        assert_eq!((found.line_of(4, "spec.vni"), found.line_of(11, "spec.vni")), (Some(6), Some(13)));
        assert_eq!((found.line_of(11, "spec.vrf"), found.line_of(5, "spec.vni")), (Some(12), None));
    }

    /// It is rejected, and so not also skipped.
    #[test]
    fn a_group_that_is_misspelt_is_not_one_of_others() {
        let skipped = |group: &str| survey(&format!("apiVersion: {group}/v1alpha1\nkind: L3VNI\n")).skipped.len();
        assert_eq!((skipped("openpe.openperouter.io"), skipped("example.com")), (0, 1));
    }

    #[rstest]
    #[case("kind: Secret\nstringData:\n  bgp: hunter2: x\n", true)]
    #[case("kind: L3VNI\n---\n? kind\n: \"Secret\"\ndata: {a: b: c}\n", true)]
    #[case("kind: L3VNI\nspec: {hostSession: {passwordSecret: {name: a: b}}}\n", false)]
    #[case("kind: L3VNI\nspec: {vni: 0}\n", false)]
    #[case("kind: List\nitems: [{kind: L3VNI}, {kind: Secret}]\n", true)]
    #[case("stringData: {bgp: hunter2}\n", true)]
    fn lines_of_secrets_are_known(#[case] text: &str, #[case] is_secret: bool) {
        let lines = survey(text).secret_lines;
        assert_eq!(lines.iter().any(|lines| lines.contains(&2) || lines.contains(&1)), is_secret, "{lines:?}");
    }

    #[test]
    fn a_session_subnet_with_the_address_of_a_leaf_is_found() {
        let specs = [
            (1, serde_json::json!({"neighbors": [{"address": "192.168.11.2"}]})),
            (9, serde_json::json!({"localcidr": {"ipv4": "192.168.11.0/24", "ipv6": "2001:db8::/64"}})),
        ];
        let found = subnets_with_neighbors(&specs);
        let found: Vec<_> = found.iter().map(|(at, w)| (*at, w.line, w.field.as_str())).collect();
        assert_eq!(found, [(1, 9, "spec.localcidr.ipv4")]);
    }
}
