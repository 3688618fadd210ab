//! A prefix of a VRF as it is listed: its paths, and whether kernel and fabric have it. The one shape of `perouter routes` and of the
//! page. Pure data.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::filtered::FilterReason;
use crate::frr::show::route::{Origin, Path, Type5};
use crate::frr::show::type2::Type2;

/// A prefix.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedRoute {
    /// The prefix.
    pub prefix: IpNet,
    /// Its paths.
    pub paths: Vec<Path>,
    /// Where the kernel forwards to.
    pub kernel: Vec<String>,
    /// Our Type-5 route.
    pub type5: Option<Type5>,
    /// Our MAC/IP route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type2: Option<Type2>,
    /// Hosts from which it is filtered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filtered: Vec<FilteredFrom>,
}

/// A host whose route is filtered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilteredFrom {
    /// The host.
    pub peer: String,
    /// Next hop of the route.
    pub next_hop: Option<IpAddr>,
    /// Why.
    pub reason: FilterReason,
}

impl ListedRoute {
    /// The origin of its best path; `None` where no path is in use.
    pub fn origin(&self) -> Option<Origin> {
        let best = self.paths.iter().find(|path| path.best).map(|path| path.origin);
        best.or_else(|| self.type2.as_ref().map(|_| Origin::Segment))
    }
}
