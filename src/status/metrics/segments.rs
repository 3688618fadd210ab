//! The metrics of L2VNIs. In: a status. Out: samples. What was not counted yet has no series.

use super::exposition::{Exposition, Metric};
use super::table;
use crate::frr::show::vni::{PlaceCounts, VniState};
use crate::status::model::NodeStatus;

/// The labels `vni` and `vrf`, and the state.
type LabeledSegment<'a> = (String, &'a str, &'a VniState);

pub(super) fn render(status: &NodeStatus, text: &mut Exposition) {
    let segments: Vec<LabeledSegment<'_>> =
        status.l2vnis().map(|(vni, state)| (vni.to_string(), state.vrf.as_str(), state)).collect();
    let mut up = text.metric(table::SEGMENT_UP);
    for (vni, vrf, state) in &segments {
        up.add([vni, vrf], u8::from(state.is_ready()));
    }
    places(table::SEGMENT_MACS, &segments, VniState::mac_counts, text);
    places(table::SEGMENT_NEIGHBORS, &segments, VniState::neighbor_counts, text);
    let mut vteps = text.metric(table::SEGMENT_VTEPS);
    for (vni, vrf, state) in &segments {
        vteps.add([vni, vrf], state.remote_vteps.len());
    }
}

fn places(
    metric: Metric<3>,
    segments: &[LabeledSegment<'_>],
    counts: impl Fn(&VniState) -> Option<PlaceCounts>,
    text: &mut Exposition,
) {
    let mut metric = text.metric(metric);
    for (vni, vrf, state) in segments {
        if let Some(PlaceCounts { local, remote }) = counts(state) {
            metric.add([vni, vrf, "local"], local);
            metric.add([vni, vrf, "remote"], remote);
        }
    }
}
