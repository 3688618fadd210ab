//! L3VNIs that FRR has down, or whose FDB lacks what zebra has installed, although all is in place: their IP-VRFs are rebuilt, whichever pass finds them. In: the L3VNIs as
//! FRR has them, at any time. Out: the IP-VRFs that are to be rebuilt. Bounded: a rebuild costs the sessions of the host, and
//! where it does not help the pauses grow. Rebuilds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::frr::show::vni::VniState;
use crate::types::{Vni, VrfName};

/// An L3VNI that is down for so long does not come up by itself: bgpd needs 100 ms.
const GRACE: Duration = Duration::from_secs(5);
/// The same while bgpd has it and zebra has not: bgpd of FRR 8 connects to a new zebra after 10 s.
const GRACE_OF_RECONNECT: Duration = Duration::from_secs(20);
/// Between two rebuilds of one IP-VRF, at first.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// And at last.
const LAST_PAUSE: Duration = Duration::from_secs(600);

/// Since when an L3VNI is down.
#[derive(Debug, Clone, Copy)]
struct Down {
    /// When its IP-VRF is to be rebuilt.
    due: Instant,
    /// The pause after that.
    pause: Duration,
    /// It was rebuilt, and is down nevertheless.
    in_vain: bool,
}

/// The IP-VRFs whose L3VNI is down.
#[derive(Debug, Default)]
pub(super) struct DownVnis(BTreeMap<VrfName, Down>);

impl DownVnis {
    /// Takes note of what FRR has; `expected` are the L3VNIs that are wanted, `incomplete` those whose FDB lacks entries.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        expected: &BTreeMap<&VrfName, Vni>,
        vnis: &BTreeMap<Vni, VniState>,
        incomplete: &BTreeSet<VrfName>,
    ) {
        self.0.retain(|vrf, _| expected.contains_key(vrf));
        for (&vrf, vni) in expected {
            let state = vnis.get(vni);
            if state.is_some_and(|state| is_up(state, vrf)) && !incomplete.contains(vrf) {
                self.0.remove(vrf);
                continue;
            }
            // Or until bgpd is restarted by its supervisor.
            let waits = |state: &VniState| state.is_only_in_bgp() || state.stale_instance().is_some();
            let grace = if state.is_some_and(waits) { GRACE_OF_RECONNECT } else { GRACE };
            let new = Down { due: now + grace, pause: FIRST_PAUSE, in_vain: false };
            let down = self.0.entry(vrf.clone()).or_insert(new);
            down.in_vain = down.pause > FIRST_PAUSE;
        }
    }

    /// The IP-VRFs that do not work.
    pub(super) fn vrfs(&self) -> impl Iterator<Item = &VrfName> {
        self.0.keys()
    }

    /// The IP-VRFs that are to be rebuilt by now.
    pub(super) fn due(&self, now: Instant) -> BTreeSet<VrfName> {
        self.0.iter().filter(|(_, down)| down.due <= now).map(|(vrf, _)| vrf.clone()).collect()
    }

    /// When the next one is.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|down| down.due).min()
    }

    /// Those that a rebuild did not help.
    pub(super) fn rebuilt_in_vain(&self) -> BTreeSet<VrfName> {
        self.0.iter().filter(|(_, down)| down.in_vain).map(|(vrf, _)| vrf.clone()).collect()
    }

    /// These are rebuilt, or were in vain.
    pub(super) fn rebuilt(&mut self, now: Instant, vrfs: &BTreeSet<VrfName>, in_vain: bool) {
        for vrf in vrfs {
            let pause = self.0.get(vrf).map_or(FIRST_PAUSE, |down| down.pause);
            self.0.insert(vrf.clone(), Down { due: now + pause, pause: (pause * 2).min(LAST_PAUSE), in_vain });
        }
    }
}

/// Whether an L3VNI is up in its VRF.
pub(super) fn is_up(state: &VniState, vrf: &VrfName) -> bool {
    state.is_ready() && state.is_l3_of(vrf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MacAddr;

    fn state(vrf: &str, up: bool) -> VniState {
        let router_mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
        VniState { vrf: vrf.to_owned(), up, router_mac, in_bgp: true, ..VniState::default() }
    }

    /// The seconds at which red is rebuilt while FRR has its L3VNI like this.
    fn rebuilds(found: &VniState, seconds: u64) -> Vec<u64> {
        let (mut down, begin) = (DownVnis::default(), Instant::now());
        let vni = Vni::try_from(100).unwrap();
        let red: VrfName = "red".parse().unwrap();
        let expected = BTreeMap::from([(&red, vni)]);
        let mut rebuilds = Vec::new();
        for second in 0..=seconds {
            let now = begin + Duration::from_secs(second);
            down.observe(now, &expected, &BTreeMap::from([(vni, found.clone())]), &BTreeSet::new());
            let due = down.due(now);
            if !due.is_empty() {
                rebuilds.push(second);
                down.rebuilt(now, &due, false);
            }
        }
        rebuilds
    }

    #[test]
    fn an_l3vni_that_is_down_is_rebuilt_with_growing_pauses() {
        let all = [5, 35, 95, 215, 455, 935, 1535, 2135];
        assert_eq!(rebuilds(&state("red", false), 2200), all);
        assert_eq!(rebuilds(&state("", false), 40)[..1], [20], "bgpd connects to a new zebra");
        assert_eq!(rebuilds(&state("blue", true), 40), all[..2], "in another VRF");
        assert_eq!(rebuilds(&state("red", true), 600), [0; 0]);
    }

    #[test]
    fn one_that_is_up_in_between_is_new_when_it_is_down_again() {
        let (mut down, begin) = (DownVnis::default(), Instant::now());
        let vni = Vni::try_from(100).unwrap();
        let red: VrfName = "red".parse().unwrap();
        let expected = BTreeMap::from([(&red, vni)]);
        let none = BTreeSet::new();
        let at = |second| begin + Duration::from_secs(second);
        let vnis = |up| BTreeMap::from([(vni, state("red", up))]);
        down.observe(at(0), &expected, &vnis(false), &none);
        down.rebuilt(at(5), &down.due(at(5)), false);
        assert_eq!(down.rebuilt_in_vain().len(), 0);
        down.observe(at(6), &expected, &vnis(false), &none);
        assert_eq!(down.rebuilt_in_vain().len(), 1);
        down.observe(at(6), &expected, &vnis(true), &none);
        assert_eq!((down.next(), down.rebuilt_in_vain().len()), (None, 0));
        down.observe(at(7), &expected, &vnis(false), &none);
        assert_eq!(down.next(), Some(at(12)));
        down.observe(at(8), &BTreeMap::new(), &vnis(false), &none);
        assert_eq!(down.next(), None, "not wanted any more");
        down.observe(at(9), &expected, &vnis(true), &BTreeSet::from(["red".parse().unwrap()]));
        assert_eq!(down.next(), Some(at(14)), "its FDB is incomplete");
    }
}
