//! A step of a path. Pure data.

use std::fmt;

use serde::Serialize;

/// A step of the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceStep {
    /// Where.
    pub at: TracePoint,
    /// The path is complete here.
    pub ok: bool,
    /// It is complete, but not for all packets, or only by what cannot be seen here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub warning: bool,
    /// What is there, or why the path is incomplete here and the remedy.
    pub text: String,
    /// Where there are several equal ways: each of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    /// What shows it: a command of FRR or of the node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub evidence: String,
}

impl TraceStep {
    pub(super) fn new(at: TracePoint, ok: bool, text: impl Into<String>) -> Self {
        Self { at, ok, warning: false, text: text.into(), branches: vec![], evidence: String::new() }
    }

    /// A step with a warning.
    pub fn warning(at: TracePoint, text: impl Into<String>) -> Self {
        Self { warning: true, ..Self::new(at, true, text) }
    }

    #[must_use]
    /// With what shows it.
    pub fn shown_by(self, evidence: impl Into<String>) -> Self {
        Self { evidence: evidence.into(), ..self }
    }

    /// By a query of [`crate::frr::show`] to a daemon, as a person types it in vtysh.
    #[must_use]
    pub(super) fn shown_in(self, daemon: &str, query: &str) -> Self {
        self.shown_by(format!("{daemon}: {}", query.trim_end_matches(" json")))
    }

    #[must_use]
    pub(super) fn with_branches(self, branches: Vec<String>) -> Self {
        Self { branches, ..self }
    }
}

/// Places of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TracePoint {
    /// The host session, in either direction.
    Host,
    /// The L2 segment.
    Segment,
    /// The VRF's table in bgpd.
    Vrf,
    /// The VRF's table in the kernel.
    Kernel,
    /// The MAC/IP route.
    Type2,
    /// The Type-5 route.
    Type5,
    /// The fabric sessions, in either direction.
    Fabric,
    /// The route to a VTEP.
    Underlay,
    /// The links on the path, and the packets that they forward.
    Links,
}

impl fmt::Display for TracePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Segment => "segment",
            Self::Vrf => "VRF",
            Self::Kernel => "kernel",
            Self::Type2 => "Type-2",
            Self::Type5 => "Type-5",
            Self::Fabric => "fabric",
            Self::Underlay => "route",
            Self::Links => "links",
        })
    }
}
