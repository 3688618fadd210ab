//! VRFs that bgpd has and that are gone. In: the vty sockets of zebra and bgpd. Out: those that stay so. Repairs nothing: only a
//! restart of bgpd helps.
//!
//! A bgpd that was not connected to zebra while a VRF was deleted keeps its id, and ignores a VRF of that name with another id
//! (`vrf_get`). An instance that is configured later gets the VRF that is gone, so that it can be found at any time.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::frr::client::vty::{Vty, VtyError};
use crate::frr::show::ShowError;
use crate::frr::show::vrf::SHOW_VRF;
use crate::frr::show::vrf_binding::{Instances, SHOW_INSTANCES, Unbound, VrfIds, instances, unbound, vrf_ids};
use crate::runtime::{Daemon, Runtime};

/// Between two reads of zebra.
const INTERVAL: Duration = Duration::from_secs(4);
/// The longest time between two reads of bgpd: with hundreds of IP-VRFs one takes milliseconds, of bgpd and of this process.
const LONGEST: Duration = Duration::from_secs(60);
/// bgpd processes a VRF that is replaced within milliseconds, and later where it is busy.
const CONFIRM: Duration = Duration::from_secs(1);
/// Time limit of a vty exchange.
const LIMIT: Duration = Duration::from_secs(3);

/// VRFs of which bgpd and zebra have different ids.
pub(crate) type StaleVrfs = BTreeMap<String, Unbound>;

/// Why it is not known which there are.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// A vty exchange.
    #[error(transparent)]
    Vty(#[from] VtyError),
    /// A daemon printed something other than JSON.
    #[error(transparent)]
    Show(#[from] ShowError),
}

/// When bgpd is read. An id of bgpd can only become stale when zebra has other VRFs than before, and perhaps a while later.
#[derive(Debug, Default)]
struct Pace {
    /// What zebra printed last.
    vrfs: String,
    next: Option<Instant>,
    pause: Duration,
}

impl Pace {
    /// Whether bgpd is to be read now: when zebra prints something else, and then at intervals that grow.
    fn is_due(&mut self, now: Instant, vrfs: String) -> bool {
        if self.vrfs != vrfs {
            *self = Self { vrfs, next: None, pause: INTERVAL };
        }
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.next = Some(now + self.pause);
        self.pause = (2 * self.pause).clamp(INTERVAL, LONGEST);
        true
    }
}

/// Completes when there are some that stay.
pub(crate) async fn found(runtime: Runtime) -> StaleVrfs {
    let (mut pace, mut zebra) = (Pace::default(), None);
    loop {
        sleep(INTERVAL).await;
        let Ok(vrfs) = vrfs(&runtime, &mut zebra).await else {
            // A daemon that does not answer is restarted by others.
            pace = Pace::default();
            continue;
        };
        if pace.is_due(Instant::now(), vrfs)
            && let Ok(stale) = confirmed(&runtime).await
            && !stale.is_empty()
        {
            return stale;
        }
    }
}

/// What zebra prints of its VRFs. The connection is kept for the next time: one to a zebra that was restarted fails.
async fn vrfs(runtime: &Runtime, zebra: &mut Option<Vty>) -> Result<String, VtyError> {
    let mut vty = match zebra.take() {
        Some(vty) => vty,
        None => Vty::connect(&runtime.vty_socket(Daemon::Zebra), LIMIT).await?,
    };
    let reply = vty.run(SHOW_VRF, LIMIT).await?;
    *zebra = Some(vty);
    Ok(reply.text)
}

/// Those that are the same a while later.
pub(crate) async fn confirmed(runtime: &Runtime) -> Result<StaleVrfs, ReadError> {
    let mut stale = read(runtime).await?;
    if !stale.is_empty() {
        sleep(CONFIRM).await;
        let now = read(runtime).await?;
        stale.retain(|vrf, unbound| now.get(vrf) == Some(unbound));
    }
    Ok(stale)
}

/// The instances of bgpd.
pub(crate) async fn bgpd_instances(runtime: &Runtime) -> Result<Instances, ReadError> {
    let mut bgpd = Vty::connect(&runtime.vty_socket(Daemon::Bgpd), LIMIT).await?;
    Ok(instances(&bgpd.run(SHOW_INSTANCES, LIMIT).await?.text)?)
}

async fn read(runtime: &Runtime) -> Result<StaleVrfs, ReadError> {
    let ids = vrf_ids(&vrfs(runtime, &mut None).await?);
    Ok(stale(&ids, &bgpd_instances(runtime).await?))
}

fn stale(zebra: &VrfIds, bgpd: &Instances) -> StaleVrfs {
    let is_stale = |unbound: &Unbound| matches!(unbound, Unbound::OtherId { .. });
    let one = |vrf: &String| Some((vrf.clone(), unbound(vrf, zebra, bgpd).filter(is_stale)?));
    bgpd.keys().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bgpd_is_read_when_zebra_has_other_vrfs_and_then_less_and_less() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let mut read = |from: u64, vrfs: &str| -> Vec<u64> {
            let is_due = |second: &u64| pace.is_due(begin + Duration::from_secs(*second), vrfs.to_owned());
            (from..from + 240).step_by(4).filter(is_due).collect()
        };
        assert_eq!(read(0, "vrf red id 5"), [0, 4, 12, 28, 60, 120, 180]);
        assert_eq!(read(240, "vrf red id 9"), [240, 244, 252, 268, 300, 360, 420]);
    }

    #[test]
    fn only_a_vrf_that_both_have_with_different_ids_is_stale() {
        let zebra = [("red", 9), ("blue", 2), ("new", 3)].map(|(name, id)| (name.to_owned(), id)).into();
        // The default instance, one that waits for its VRF, and one whose VRF is being removed.
        let bgpd = [("default", Some(0)), ("red", Some(5)), ("blue", Some(2)), ("new", None), ("old", Some(4))];
        let bgpd = bgpd.map(|(name, id)| (name.to_owned(), id)).into();
        let expected = [("red".to_owned(), Unbound::OtherId { bgpd: 5, zebra: 9 })].into();
        assert_eq!(stale(&zebra, &bgpd), expected);
    }
}
