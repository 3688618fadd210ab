//! Files of an earlier run, written by another release, cut off, or edited: `nics.json`, the last snapshot, `status.json`, pid
//! files, `/proc/PID/stat`. What is read is written the same, and saved addresses and routes become requests or are rejected.

use std::path::Path;

use perouter::frr::daemons::process::{Stat, pid};
use perouter::kernel::netlink::saved::{Target as SavedTarget, add_addresses, add_routes};
use perouter::kernel::netlink::socket::frame;
use perouter::kernel::nic_record::Record;
use perouter::runtime::Daemon;
use perouter::source::kube::disk_cache;
use perouter::status::model::NodeStatus;

use crate::Target;
use crate::mutate::Format;

pub const TARGET: Target =
    Target { name: "state", format: Format::Text, max_input: 16384, run, more_seeds: super::snapshot::seeds };

fn run(input: &[u8]) {
    let _ = pid(input);
    for daemon in Daemon::ALL {
        let _ = Stat::parse(input, daemon);
    }
    if let Ok(Some(snapshot)) = disk_cache::parse(input) {
        let written = disk_cache::content(&snapshot).unwrap_or_default();
        assert_eq!(disk_cache::parse(&written).ok().flatten(), Some(snapshot));
    }
    if let Ok(status) = serde_json::from_slice::<NodeStatus>(input) {
        let written = serde_json::to_vec(&status).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<NodeStatus>(&written).ok(), Some(status));
    }
    record(&String::from_utf8_lossy(input));
}

fn record(text: &str) {
    let path = Path::new("nics.json");
    let Ok(record) = Record::parse(path, text) else { return };
    let written = serde_json::to_string(&record).unwrap_or_default();
    assert_eq!(Record::parse(path, &written).ok().as_ref(), Some(&record));
    for nic in record.nics.values() {
        for in_router in [false, true] {
            let target = SavedTarget { old_index: nic.index, index: 7, in_router, is_same_device: !in_router };
            let requests = [add_addresses(&nic.addresses, target), add_routes(&nic.routes, target)];
            for request in requests.into_iter().flatten().flatten() {
                frame(request.message, request.flags, 1);
            }
        }
    }
}
