//! Parts that underlay neighbors and host sessions share. Pure data.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cel;
use crate::frr::model::{self, Bfd};

/// A key of a Secret in the namespace of the object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(schema_with = "cel::secret_name")]
    pub name: String,
    /// Key within the Secret.
    #[schemars(schema_with = "cel::secret_key")]
    pub key: String,
}

/// Multihop eBGP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EbgpMultiHop {
    /// Largest number of hops to the peer, 1 to 255.
    #[serde(default = "max_ttl")]
    #[schemars(range(min = 1, max = 255))]
    pub ttl: u8,
}

fn max_ttl() -> u8 {
    255
}

/// BFD for the session (RFC 5880, RFC 5881). An empty object takes FRR's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BfdSettings {
    /// Required minimum receive interval in milliseconds, 10 to 60000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60000))]
    pub receive_interval: Option<u32>,
    /// Desired minimum transmit interval in milliseconds, 10 to 60000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60000))]
    pub transmit_interval: Option<u32>,
    /// Lost packets before the session is down, 2 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 255))]
    pub detect_multiplier: Option<u8>,
    /// Wait for the peer to start the session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passive: bool,
    /// Least TTL of packets of a multihop session, 1 to 254.
    #[serde(default, rename = "minimumTTL", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 254))]
    pub minimum_ttl: Option<u8>,
}

/// Graceful restart (RFC 4724).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GracefulRestart {
    /// Time within which the peer expects us back, in seconds, 1 to 4095. FRR's default is 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4095))]
    pub restart_time_seconds: Option<u16>,
    /// Time for which stale routes are kept, in seconds, 1 to 4095. FRR's default is 360.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4095))]
    pub stale_path_time_seconds: Option<u16>,
}

/// A prefix with the lengths it stands for, as in a prefix list. Without `ge` and `le` exactly the prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = cel::prefix_rule_ge(), validation = cel::prefix_rule_le())]
#[x_kube(validation = cel::prefix_rule_order(), validation = cel::prefix_rule_family())]
#[serde(deny_unknown_fields)]
pub struct PrefixRule {
    /// The prefix.
    #[schemars(schema_with = "cel::prefix")]
    pub prefix: String,
    /// Least length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 128))]
    pub ge: Option<u8>,
    /// Greatest length.
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

impl From<&GracefulRestart> for model::GracefulRestart {
    fn from(settings: &GracefulRestart) -> Self {
        Self { restart_time: settings.restart_time_seconds, stale_path_time: settings.stale_path_time_seconds }
    }
}
