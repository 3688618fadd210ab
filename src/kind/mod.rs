//! The kinds of objects, group [`GROUP`], version [`VERSION`]: one folder for each kind that users write, with its spec
//! (the API), the rules of its fields, and what it adds to the kernel state and to the FRR configuration. In: specs. Out:
//! values, claims, contributions. Structural validation and CEL are derived from the specs; collisions between objects are
//! found in `plan`. Nothing outside names a kind but the closed list (`list.rs`). Pure.
//!
//! A new kind is a folder here, its `mod` line below, and its line in the closed list.

pub mod bgp;
pub mod cel;
pub mod check;
pub mod claim;
pub mod crds;
pub mod definition;
mod forwarding;
pub mod ipam;
pub mod l3vni;
mod list;
pub mod node_index;
pub mod node_status;
pub mod note;
pub mod object;
pub mod underlay;

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use self::check::{Check, NodeContext};
use self::claim::Claim;
use self::definition::{Expectation, Fabric, KindSpec, KindValid, NodeFacts};
use self::list::for_each_kind;
use self::note::Note;
use crate::frr::model::RouterConfig;
use crate::kernel::model::KernelState;
use crate::scope::Scope;

pub use bgp::{BfdSettings, EbgpMultiHop, GracefulRestart, PrefixRule, SecretKeyRef};
pub use l3vni::{
    Aggregate, FromHost, HostSession, L3VNI, L3VNISpec, LocalCidr, RouteTargets, SourceAddress, ToFabric, ToHost,
};
pub use node_index::{NodeIndex, NodeIndexSpec};
pub use node_status::{RouterNodeStatus, RouterNodeStatusSpec, RouterState};
pub use object::{Kind, Location, ObjectRef, Reason, Rejection, SecretKey};
pub use underlay::{Neighbor, NeighborType, Underlay, UnderlaySpec};

/// API group of every resource.
pub const GROUP: &str = "openpe.openperouter.github.io";
/// The one served version.
pub const VERSION: &str = "v1alpha1";

macro_rules! declare_dispatch {
    ($($kind:ident => $spec:path,)*) => {
        /// The spec of an object of any kind, with its defaults.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Spec {
            $(
                #[doc = concat!("Of `", stringify!($kind), "`.")]
                $kind(Arc<$spec>),
            )*
        }

        $(
            impl From<$spec> for Spec {
                fn from(spec: $spec) -> Self {
                    Self::$kind(Arc::new(spec))
                }
            }

            impl $spec {
                /// The spec of an object of this kind; `None` for another kind.
                pub fn of(spec: &Spec) -> Option<&Self> {
                    if let Spec::$kind(spec) = spec { Some(spec) } else { None }
                }
            }
        )*

        impl Spec {
            /// Reads the spec of an object of `kind` from JSON that fits its schema.
            ///
            /// # Errors
            /// Where it does not fit.
            pub fn from_json(kind: Kind, spec: Value) -> Result<Self, serde_json::Error> {
                match kind {
                    $(Kind::$kind => serde_json::from_value(spec).map(|spec| Self::$kind(Arc::new(spec))),)*
                    Kind::Document => Err(serde::de::Error::custom("no kind")),
                }
            }

            /// The spec as JSON.
            ///
            /// # Errors
            /// Where a value has no JSON form, which no spec has.
            pub fn to_json(&self) -> Result<Value, serde_json::Error> {
                match self {
                    $(Self::$kind(spec) => serde_json::to_value(&**spec),)*
                }
            }

            /// The nodes that the object is for; `None`: all.
            pub fn selector(&self) -> Option<&LabelSelector> {
                match self {
                    $(Self::$kind(spec) => spec.selector(),)*
                }
            }

            /// The Secrets that the object names.
            pub fn secrets(&self) -> Vec<&SecretKeyRef> {
                match self {
                    $(Self::$kind(spec) => spec.secrets(),)*
                }
            }

            /// The NICs that the object names.
            pub fn nics(&self) -> Vec<&str> {
                match self {
                    $(Self::$kind(spec) => spec.nics(),)*
                }
            }

            /// Takes the fields to values.
            ///
            /// # Errors
            /// Every mistake of the object.
            pub fn validate(&self, object: &ObjectRef, node: NodeContext<'_>) -> Result<Valid, Vec<Rejection>> {
                let mut check = Check::new(object, node);
                let valid = match self {
                    $(Self::$kind(spec) => spec.validate(&mut check).map(|valid| Valid::$kind(Box::new(valid))),)*
                };
                check.done(valid)
            }
        }

        /// An accepted object of any kind, by its values.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Valid {
            $(
                #[doc = concat!("Of `", stringify!($kind), "`.")]
                $kind(Box<<$spec as KindSpec>::Valid>),
            )*
        }

        impl Valid {
            /// To what all that the object asks for belongs.
            pub fn scope(&self) -> Scope {
                match self {
                    $(Self::$kind(valid) => valid.scope(),)*
                }
            }

            /// What no other object may have.
            pub fn claims(&self) -> Vec<Claim> {
                match self {
                    $(Self::$kind(valid) => valid.claims(),)*
                }
            }

            /// The connection to the fabric, where this object provides it.
            pub fn fabric(&self, object: &ObjectRef, facts: &NodeFacts) -> Option<Fabric> {
                match self {
                    $(Self::$kind(valid) => valid.fabric(object, facts),)*
                }
            }

            /// Adds the links, addresses and settings of the object.
            pub fn links(&self, fabric: &Fabric, state: &mut KernelState) {
                match self {
                    $(Self::$kind(valid) => valid.links(fabric, state),)*
                }
            }

            /// Adds the FRR configuration of the object.
            pub fn routing(&self, fabric: &Fabric, config: &mut RouterConfig) {
                match self {
                    $(Self::$kind(valid) => valid.routing(fabric, config),)*
                }
            }

            /// What FRR must have when the object is in place.
            pub fn expects(&self) -> Vec<Expectation> {
                match self {
                    $(Self::$kind(valid) => valid.expects(),)*
                }
            }
        }

        impl Kind {
            /// Whether objects of the kind need the node's connection to the fabric.
            pub fn needs_fabric(self) -> bool {
                match self {
                    $(Self::$kind => <$spec as KindSpec>::NEEDS_FABRIC,)*
                    Self::Document => false,
                }
            }

            /// The definition of the kind, as derived; `None` for what is no kind.
            pub fn crd(self) -> Option<CustomResourceDefinition> {
                match self {
                    $(Self::$kind => Some(<$spec as KindSpec>::crd()),)*
                    Self::Document => None,
                }
            }
        }

        /// What the accepted objects of a node lose, sorted.
        pub fn notes(accepted: &[(&ObjectRef, &Valid)], fabric: &Fabric) -> Vec<Note> {
            let mut found = Vec::new();
            $(
                let of_kind: Vec<_> = accepted
                    .iter()
                    .filter_map(|(object, valid)| if let Valid::$kind(valid) = valid { Some((*object, &**valid)) } else { None })
                    .collect();
                found.extend(<<$spec as KindSpec>::Valid as KindValid>::notes(&of_kind, fabric));
            )*
            found.sort();
            found
        }
    };
}

for_each_kind!(declare_dispatch);
