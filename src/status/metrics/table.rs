//! All metrics: a closed list. Out: name, type, labels and meaning of each. Pure data. Names and units follow
//! <https://prometheus.io/docs/practices/naming/>.

use super::exposition::{Metric, MetricInfo, MetricType};

macro_rules! metrics {
    ($($id:ident: $metric_type:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $id: Metric<{ let labels: &[&str] = &[$($label),*]; labels.len() }> = Metric {
            info: MetricInfo {
                name: $name,
                metric_type: MetricType::$metric_type,
                labels: &[$($label),*],
                help: $help,
            },
            labels: [$($label),*],
        };)*

        /// Each of them, in the order of the text.
        pub const METRICS: &[MetricInfo] = &[$($id.info),*];
    };
}

metrics! {
    INFO: Gauge "perouter_info" ["version", "frr_version", "vrf_mode"]
        "Versions and VRF mode; always 1";
    PASSES: Counter "perouter_passes_total" ["result"]
        "Reconcile passes by result";
    LAST_SUCCESS: Gauge "perouter_last_reconcile_success_timestamp_seconds" []
        "When a reconcile pass last ended with everything that was accepted in place; 0 before the first";
    PASS_DURATION: Histogram "perouter_pass_duration_seconds" []
        "Duration of reconcile passes";
    PASS_PHASE: Counter "perouter_pass_phase_seconds_total" ["phase"]
        "Time of reconcile passes by phase";
    CONVERGENCE: Histogram "perouter_convergence_seconds" []
        "Time from a change of the objects until all of it was in place";
    KERNEL_OPS: Counter "perouter_kernel_ops_total" []
        "Kernel operations applied";
    FRR_LINES: Counter "perouter_frr_lines_total" []
        "Configuration lines that FRR accepted";
    VRFS_REBUILT: Counter "perouter_vrfs_rebuilt_total" []
        "IP-VRFs rebuilt because FRR did not bring them up";
    STATUS_TIME: Gauge "perouter_status_timestamp_seconds" []
        "When the controller last read FRR: all that the metrics show of sessions, VNIs and findings is of then";
    SOURCE_UP: Gauge "perouter_source_up" ["source"]
        "1 while the source of objects can be read";
    SOURCE_SUCCESS: Gauge "perouter_source_last_success_timestamp_seconds" ["source"]
        "When the source could last be read: now, or the begin of the outage; 0 before the first time";
    OBJECTS: Gauge "perouter_objects" ["kind", "state", "reason"]
        "Objects of this node by state and reason";
    FINDINGS: Gauge "perouter_findings" ["severity", "finding"]
        "What the checks of the controller find; absent where it is nothing";
    FRR_UP: Gauge "perouter_frr_up" ["daemon"]
        "1 for a daemon of FRR that answers";
    FRR_RESTARTS: Counter "perouter_frr_restarts_total" ["daemon"]
        "Restarts of a daemon of FRR since the controller started";
    SESSIONS_CONFIGURED: Gauge "perouter_sessions_configured" ["kind"]
        "BGP sessions that the objects define";
    SESSION_UP: Gauge "perouter_session_up" ["vrf", "peer", "asn", "kind"]
        "1 for an established BGP session";
    SESSION_ESTABLISHED: Counter "perouter_session_established_total" ["vrf", "peer", "asn", "kind"]
        "How often the session was established";
    SESSION_SINCE: Gauge "perouter_session_state_since_timestamp_seconds" ["vrf", "peer", "asn", "kind"]
        "When the session was established, or went down";
    FAMILY_NEGOTIATED: Gauge "perouter_session_family_negotiated" ["peer", "asn", "family"]
        "1 for an address family that both sides of an established session with the fabric have offered";
    PREFIXES: Gauge "perouter_session_prefixes" ["vrf", "peer", "asn", "kind", "family", "direction"]
        "Prefixes accepted from the peer, and advertised to it";
    PREFIXES_FILTERED: Gauge "perouter_session_prefixes_filtered" ["vrf", "peer", "asn", "reason"]
        "Prefixes of a host that are filtered, by reason: prefix, or a next hop that is not the host's";
    PREFIXES_LIMIT: Gauge "perouter_session_prefixes_limit" ["vrf", "peer", "asn"]
        "Prefixes of a host above which its session is shut down; absent without a limit";
    BFD_UP: Gauge "perouter_bfd_session_up" ["vrf", "peer", "interface"]
        "1 for a BFD session that is up";
    VNI_UP: Gauge "perouter_vni_up" ["vni", "vrf"]
        "1 for an L3VNI that is up in zebra and bgpd, 0 for one that is not, or that FRR lacks";
    SEGMENT_UP: Gauge "perouter_segment_up" ["vni", "vrf"]
        "1 for an L2VNI that is up in zebra and bgpd, 0 for one that is not, or that FRR lacks";
    SEGMENT_MACS: Gauge "perouter_segment_macs" ["vni", "vrf", "place"]
        "MAC addresses of an L2VNI by place: local, or remote behind another VTEP";
    SEGMENT_NEIGHBORS: Gauge "perouter_segment_neighbors" ["vni", "vrf", "place"]
        "Neighbors of an L2VNI, IP addresses with their MAC address, by place";
    SEGMENT_VTEPS: Gauge "perouter_segment_remote_vteps" ["vni", "vrf"]
        "VTEPs to which an L2VNI floods";
    NIC_CARRIER: Gauge "perouter_nic_carrier" ["nic"]
        "1 for a NIC of the underlay that is set up and has a carrier";
    NIC_MTU: Gauge "perouter_nic_mtu_bytes" ["nic"]
        "MTU of a NIC of the underlay";
    PROCESS_CPU: Counter "process_cpu_seconds_total" []
        "User and system time of the controller";
    PROCESS_RESIDENT: Gauge "process_resident_memory_bytes" []
        "Resident memory of the controller";
    PROCESS_VIRTUAL: Gauge "process_virtual_memory_bytes" []
        "Virtual memory of the controller";
    PROCESS_FDS: Gauge "process_open_fds" []
        "Open files of the controller";
    PROCESS_MAX_FDS: Gauge "process_max_fds" []
        "Files that the controller may open";
    PROCESS_START: Gauge "process_start_time_seconds" []
        "When the controller was started";
}
