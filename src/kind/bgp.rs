//! Fields that underlay neighbors and host sessions share. In: nothing. Out: the types of these fields, and their values for
//! FRR. It must not know a kind. Pure.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cel;
use crate::frr::model::{Bfd, GracefulRestart};

/// A key of a Secret in the namespace of this object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(schema_with = "cel::secret_name")]
    pub name: String,
    /// Key of the password in the Secret.
    #[schemars(schema_with = "cel::secret_key")]
    pub key: String,
}

/// eBGP multihop: the peer may be several hops away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EbgpMultiHop {
    /// Maximum number of hops to the peer (TTL), 1 to 255. Default: 255.
    #[serde(default = "max_ttl")]
    #[schemars(range(min = 1, max = 255))]
    pub ttl: u8,
}

fn max_ttl() -> u8 {
    255
}

/// BFD for the session (RFC 5880, RFC 5881, RFC 5883). An empty object uses the defaults of all fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BfdSettings {
    /// Required minimum receive interval in milliseconds, 10 to 60000. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60000))]
    pub receive_interval: Option<u32>,
    /// Desired minimum transmit interval in milliseconds, 10 to 60000. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60000))]
    pub transmit_interval: Option<u32>,
    /// Number of lost packets after which the session is down, 2 to 255. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 255))]
    pub detect_multiplier: Option<u8>,
    /// Wait for packets of the peer before sending any. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passive: bool,
    /// Minimum TTL of received packets, 1 to 254, of multihop sessions only. Default: 254.
    #[serde(default, rename = "minimumTTL", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 254))]
    pub minimum_ttl: Option<u8>,
}

/// Graceful restart (RFC 4724). An empty object uses the defaults of all fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GracefulRestartSettings {
    /// Time in seconds, 1 to 4095, for which the peer waits for the session to be established again. Default: 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4095))]
    pub restart_time_seconds: Option<u16>,
    /// Time in seconds, 1 to 4095, for which stale routes of the peer are kept. Default: 360.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4095))]
    pub stale_path_time_seconds: Option<u16>,
}

/// A prefix and a range of prefix lengths, as in a prefix list. Without `ge` and `le`, only the prefix itself matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = cel::prefix_rule_ge(), validation = cel::prefix_rule_le())]
#[x_kube(validation = cel::prefix_rule_order(), validation = cel::prefix_rule_family())]
#[serde(deny_unknown_fields)]
pub struct PrefixRule {
    /// IPv4 or IPv6 prefix, such as `192.0.2.0/24`.
    #[schemars(schema_with = "cel::prefix")]
    pub prefix: String,
    /// Minimum prefix length, at least that of `prefix` and at most 32 (IPv4) or 128 (IPv6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 128))]
    pub ge: Option<u8>,
    /// Maximum prefix length, at least `ge` and at most 32 (IPv4) or 128 (IPv6). Default: the length of an address if `ge`
    /// is set, else the length of `prefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 128))]
    pub le: Option<u8>,
}

impl From<&BfdSettings> for Bfd {
    fn from(settings: &BfdSettings) -> Self {
        Self {
            receive_interval: settings.receive_interval,
            transmit_interval: settings.transmit_interval,
            detect_multiplier: settings.detect_multiplier,
            passive: settings.passive,
            minimum_ttl: settings.minimum_ttl,
        }
    }
}

impl From<&GracefulRestartSettings> for GracefulRestart {
    fn from(settings: &GracefulRestartSettings) -> Self {
        Self { restart_time: settings.restart_time_seconds, stale_path_time: settings.stale_path_time_seconds }
    }
}
