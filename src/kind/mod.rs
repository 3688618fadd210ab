//! The kinds of objects, group [`GROUP`], version [`VERSION`]: one folder for each kind that users write, with its spec (the
//! API), the rules of its fields, and what it adds to the kernel state and to the FRR configuration. In: specs. Out: typed
//! values, claims, contributions. The structural schema and the CEL rules are derived from the specs. Conflicts between objects
//! are found in `plan`. Nothing outside this module may depend on a kind, but through the closed list (`list.rs`). Pure.
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
pub mod l2vni;
pub mod l3vni;
mod list;
pub mod node_index;
pub mod node_owner;
pub mod node_status;
pub mod note;
pub mod object;
pub mod underlay;
pub mod vni_fields;
pub mod vtep;

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use self::check::{Check, HostedVrf, NodeContext};
use self::claim::Claim;
use self::definition::{Expectation, Fabric, KindSpec, KindValid, NodeFacts};
use self::list::for_each_kind;
use self::note::Note;
use crate::frr::model::RouterConfig;
use crate::kernel::model::KernelState;
use crate::scope::Scope;

pub use bgp::{BfdSettings, EbgpMultiHop, GracefulRestartSettings, PrefixRule, SecretKeyRef};
pub use l2vni::{L2VNI, L2VNISpec};
pub use l3vni::{
    AggregateSpec, FromHost, HostSessionSpec, L3VNI, L3VNISpec, LocalCidr, SourceAddress, ToFabric, ToHost,
};
pub use node_index::{NodeIndex, NodeIndexSpec};
pub use node_status::{RouterNodeStatus, RouterNodeStatusSpec, RouterState};
pub use object::{Kind, Location, ObjectRef, Reason, Rejection, SecretKey};
pub use underlay::{NeighborSpec, NeighborType, Underlay, UnderlaySpec, UpdateSource};
pub use vni_fields::RouteTargets;

/// API group of every kind.
pub const GROUP: &str = "openpe.openperouter.github.io";
/// The one served version.
pub const VERSION: &str = "v1alpha1";
/// Both, as objects have them.
pub const API_VERSION: &str = "openpe.openperouter.github.io/v1alpha1";

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
            /// Reads the spec of an object of `kind` from JSON that is valid by its schema.
            ///
            /// # Errors
            /// If it is not.
            pub fn from_json(kind: Kind, spec: Value) -> Result<Self, serde_json::Error> {
                match kind {
                    $(Kind::$kind => serde_json::from_value(spec).map(|spec| Self::$kind(Arc::new(spec))),)*
                    Kind::Document => Err(serde::de::Error::custom("a document has no spec")),
                }
            }

            /// The spec as JSON.
            ///
            /// # Errors
            /// If a value has no JSON form, which is not the case for any spec.
            pub fn to_json(&self) -> Result<Value, serde_json::Error> {
                match self {
                    $(Self::$kind(spec) => serde_json::to_value(&**spec),)*
                }
            }

            /// The labels of the nodes that the object applies to; `None`: all nodes.
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

            /// Converts the fields to typed values.
            ///
            /// # Errors
            /// Everything that is wrong with the object.
            pub fn validate(&self, object: &ObjectRef, node: NodeContext<'_>) -> Result<Valid, Vec<Rejection>> {
                let mut check = Check::new(object, node);
                let valid = match self {
                    $(Self::$kind(spec) => spec.validate(&mut check).map(|valid| Valid::$kind(Box::new(valid))),)*
                };
                check.finish(valid)
            }
        }

        /// A valid object of any kind, as typed values.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Valid {
            $(
                #[doc = concat!("Of `", stringify!($kind), "`.")]
                $kind(Box<<$spec as KindSpec>::Valid>),
            )*
        }

        impl Valid {
            /// The scope of everything that the object contributes.
            pub fn scope(&self) -> Scope {
                match self {
                    $(Self::$kind(valid) => valid.scope(),)*
                }
            }

            /// What no other object of the node may claim.
            pub fn claims(&self) -> Vec<Claim> {
                match self {
                    $(Self::$kind(valid) => valid.claims(),)*
                }
            }

            /// The connection to the fabric; `None` if the object does not provide it.
            pub fn fabric(&self, object: &ObjectRef, facts: &NodeFacts) -> Option<Fabric> {
                match self {
                    $(Self::$kind(valid) => valid.fabric(object, facts),)*
                }
            }

            /// The IP-VRF in which objects of later kinds may have a segment; `None` if the object has none.
            pub fn routing_domain(&self) -> Option<HostedVrf> {
                match self {
                    $(Self::$kind(valid) => valid.routing_domain(),)*
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

            /// What FRR must report once the object is applied.
            pub fn expects(&self) -> Vec<Expectation> {
                match self {
                    $(Self::$kind(valid) => valid.expects(),)*
                }
            }
        }

        impl Kind {
            /// Whether objects of the kind require the node's connection to the fabric.
            pub fn needs_fabric(self) -> bool {
                match self {
                    $(Self::$kind => <$spec as KindSpec>::NEEDS_FABRIC,)*
                    Self::Document => false,
                }
            }

            /// The derived definition of the kind; `None` for [`Kind::Document`].
            pub fn crd(self) -> Option<CustomResourceDefinition> {
                match self {
                    $(Self::$kind => Some(<$spec as KindSpec>::crd()),)*
                    Self::Document => None,
                }
            }
        }

        /// The notes on the accepted objects of a node, sorted.
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
