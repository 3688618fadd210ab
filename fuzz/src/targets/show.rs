//! Outputs of FRR's `show` commands, each for every reader. What was read is read from its own JSON again.

use perouter::frr::show::{interface, mac, neighbor, route, session, type2, type5, vni, vrf};

use crate::Target;
use crate::mutate::Format;

pub const TARGET: Target =
    Target { name: "show", format: Format::Text, max_input: 24576, run, more_seeds: super::no_more_seeds };

fn run(input: &[u8]) {
    let text = &String::from_utf8_lossy(input);
    if let Ok(mut sessions) = session::sessions(text) {
        // It is compared with the last read, and not written.
        for session in &mut sessions {
            session.messages = 0;
        }
        let written = serde_json::to_string(&sessions).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Vec<session::SessionState>>(&written).ok(), Some(sessions));
    }
    if let Ok(vnis) = vni::vnis(text, text) {
        for state in vnis.values() {
            let written = serde_json::to_string(state).unwrap_or_default();
            assert_eq!(serde_json::from_str::<vni::VniState>(&written).ok().as_ref(), Some(state));
        }
    }
    // A list of what single VNIs print is read as what the command for all prints.
    let outputs: Vec<_> = text.lines().map(str::to_owned).collect();
    let _ = vni::vnis(&vni::listed(&outputs), "");
    let _ = session::down_sessions(text);
    let _ = (neighbor::resets(text), neighbor::fabric_sessions(text), neighbor::neighbor_reset("192.0.2.1", text));
    let _ = (interface::interfaces(text), type5::all_type5(text));
    let _ =
        (route::filtered(text), route::paths(text), route::matched(text), route::installed(text), route::type5(text));
    if let Ok(table) = serde_json::from_str(text) {
        type5::type5_routes(&table);
    }
    let _ = (mac::macs(text), mac::neighbors(text), mac::local_neighbors(text), type2::type2(text));
    let _ = (vrf::vrfs(text), vrf::mode(text), vrf::links(text));
}
