//! References to objects, and rejections. In: kinds of the closed list. Out: the types that sources, plan and status share. It
//! must not know the spec of an object. Pure data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::list::for_each_kind;

macro_rules! declare_kind {
    ($($kind:ident => $spec:path,)*) => {
        /// The kind of an object that users write.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Kind {
            $(
                #[doc = concat!("`", stringify!($kind), "`")]
                $kind,
            )*
            /// A document that does not say which object it is; occurs in a [`Rejection`] only.
            Document,
        }

        impl Kind {
            /// Every kind that has objects, in the order in which they may depend on each other.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// As in the `kind` field of an object.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                    Self::Document => "Document",
                }
            }
        }
    };
}

for_each_kind!(declare_kind);

impl Kind {
    /// The kind with this `kind` field; `None` for a kind that is not ours.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// As in the path of a request to the API server and in RBAC rules.
    pub fn plural(self) -> String {
        format!("{}s", self.as_str().to_lowercase())
    }

    /// All kinds as a phrase: `A, B or C`.
    pub fn alternatives() -> String {
        let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An object by kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Kind.
    pub kind: Kind,
    /// Namespace; `default` where the document names none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectRef {
    /// The reference of these three parts.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Document => f.write_str("document"),
            kind => write!(f, "{kind} {}/{}", self.namespace, self.name),
        }
    }
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// Path of the file, as configured.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A key of a Secret that an object names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretKey {
    /// Namespace of the Secret: that of the object that names it.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
    /// Key within the Secret.
    pub key: String,
}

/// An object that is not applied, with the reason and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rejection {
    /// The object; its name is `?` where the document does not say it.
    pub object: ObjectRef,
    /// Why it is rejected.
    pub reason: Reason,
    /// File and line, for objects of a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Path of the field, such as `spec.localcidr.ipv4`; empty for the object as a whole.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Rejection {
    /// Adds to the message that a version of the object stays in force, such as `last accepted version`: before the remedy, which
    /// is last.
    pub fn add_version_in_force(&mut self, version: &str) {
        if let Some((what, remedy)) = self.message.rsplit_once(": ")
            && !remedy.contains(['`', '"'])
        {
            self.message = format!("{what}; the {version} stays in force: {remedy}");
            return;
        }
        let link = if self.message.ends_with('?') { " The" } else { "; the" };
        self.message = format!("{}{link} {version} stays in force", self.message);
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.location {
            write!(f, "{at}: ")?;
        }
        write!(f, "{}: ", self.object)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Why an object is rejected: a closed list, also used in status conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The document is not YAML or not an object of a known kind.
    Unreadable,
    /// A field violates the schema, a CEL rule or another rule of its kind.
    Invalid,
    /// Another object has claimed what this one claims.
    Conflict,
    /// A pool has no address for the index of this node.
    PoolTooSmall,
    /// An object that this one requires is missing or rejected.
    DependencyFailed,
    /// A Secret, or a key of it, is missing or unreadable.
    SecretMissing,
    /// The installed FRR or the kernel does not support it.
    Unsupported,
    /// The node needs a NIC for something else.
    NicInUse,
    /// A NIC is missing, or has no address yet.
    NicNotReady,
}

impl Reason {
    /// As in conditions, logs and `status.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "Unreadable",
            Self::Invalid => "Invalid",
            Self::Conflict => "Conflict",
            Self::PoolTooSmall => "PoolTooSmall",
            Self::DependencyFailed => "DependencyFailed",
            Self::SecretMissing => "SecretMissing",
            Self::Unsupported => "Unsupported",
            Self::NicInUse => "NicInUse",
            Self::NicNotReady => "NicNotReady",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
