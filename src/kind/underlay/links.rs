//! The kernel state of the router namespace. In: a valid Underlay and the VRF mode. Out: additions to [`KernelState`]. It must not
//! add a link of a VRF. Pure.

use ipnet::IpNet;

use super::validate::ValidUnderlay;
use crate::kernel::model::{KernelState, Netns, Sysctl};
use crate::kind::forwarding::FORWARDING;
use crate::types::{Family, VrfMode};

/// Sysctls of a namespace with VRF devices.
const VRF_DEVICES: [(Sysctl, u32); 4] = [
    (Sysctl::VrfStrictMode, 1),
    (Sysctl::TcpL3mdevAccept, 0),
    (Sysctl::UdpL3mdevAccept, 0),
    (Sysctl::RawL3mdevAccept, 0),
];

/// Adds the state of the router namespace itself.
pub(super) fn links(underlay: &ValidUnderlay, mode: VrfMode, state: &mut KernelState) {
    state.sysctls.extend(FORWARDING.map(|(key, value)| ((Netns::Router, key), value)));
    if mode == VrfMode::Vrf {
        state.sysctls.extend(VRF_DEVICES.map(|(key, value)| ((Netns::Router, key), value)));
        state.local_last.extend([Family::Ipv4, Family::Ipv6]);
    }
    state.loopback.extend(underlay.vteps.values().copied().map(IpNet::from));
    state.nic_aliases.extend(underlay.nic_aliases.clone());
    state.nics.extend(underlay.nics.iter().map(|nic| (nic.clone(), Netns::Router)));
}
