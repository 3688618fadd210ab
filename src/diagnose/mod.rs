//! From facts to findings: where the path of an address is incomplete, why a session is down. In: what FRR and the kernel
//! report. Out: sentences with the remedy. Pure: reads nothing by itself and knows nothing of the status.

pub mod cause;
pub mod tcp_diagnosis;
pub mod trace;

use serde::{Deserialize, Serialize};

use crate::types::VrfName;

/// Why a session is not established or not served, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionCause {
    /// The VRF; `None` is the default instance.
    pub vrf: Option<VrfName>,
    /// The peer.
    pub peer: String,
    /// The cause and the remedy, as one sentence.
    pub cause: String,
}
