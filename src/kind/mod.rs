//! The custom resources, group [`GROUP`], version [`VERSION`]: the words users write. Structural validation and CEL
//! are derived from these types; what spans objects is checked in `plan`.

pub mod bgp;
pub mod cel;
pub mod crds;
pub mod l3vni;
pub mod node_index;
pub mod node_status;
pub mod underlay;

pub use bgp::{BfdSettings, EbgpMultiHop, GracefulRestart, SecretKeyRef};
pub use l3vni::{
    Aggregate, FromHost, HostSession, L3VNI, L3VNISpec, LocalCidr, PrefixRule, RouteTargets, SourceAddress, ToFabric,
    ToHost,
};
pub use node_index::{NodeIndex, NodeIndexSpec};
pub use node_status::{RouterNodeStatus, RouterNodeStatusSpec, RouterState};
pub use underlay::{Neighbor, NeighborType, Underlay, UnderlaySpec};

/// API group of every resource.
pub const GROUP: &str = "openpe.openperouter.github.io";
/// The one served version.
pub const VERSION: &str = "v1alpha1";
