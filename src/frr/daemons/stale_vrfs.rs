//! VRFs that bgpd has and that are gone. In: the vty sockets of zebra and bgpd. Out: those that stay so. Repairs nothing: only a
//! restart of bgpd helps.
//!
//! A bgpd that was not connected to zebra while a VRF was deleted keeps its id, and ignores a VRF of that name with another id
//! (`vrf_get`). An instance that is configured later gets the VRF that is gone, so that it can be found at any time.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;
use tokio::time::sleep;

use crate::frr::client::vty::{Vty, VtyError};
use crate::frr::show::ShowError;
use crate::frr::show::vrf::SHOW_VRF;
use crate::frr::show::vrf_binding::{Instances, SHOW_INSTANCES, Unbound, VrfIds, instances, unbound, vrf_ids};
use crate::runtime::{Daemon, Runtime};

/// Between two reads: with hundreds of IP-VRFs one takes bgpd milliseconds.
const INTERVAL: Duration = Duration::from_secs(4);
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

/// Completes when there are some that stay.
pub(crate) async fn found(runtime: Runtime) -> StaleVrfs {
    loop {
        sleep(INTERVAL).await;
        // A daemon that does not answer is restarted by others.
        if let Ok(stale) = confirmed(&runtime).await
            && !stale.is_empty()
        {
            return stale;
        }
    }
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
    let mut zebra = Vty::connect(&runtime.vty_socket(Daemon::Zebra), LIMIT).await?;
    let ids = vrf_ids(&zebra.run(SHOW_VRF, LIMIT).await?.text);
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
    fn only_a_vrf_that_both_have_with_different_ids_is_stale() {
        let zebra = [("red", 9), ("blue", 2), ("new", 3)].map(|(name, id)| (name.to_owned(), id)).into();
        // The default instance, one that waits for its VRF, and one whose VRF is being removed.
        let bgpd = [("default", Some(0)), ("red", Some(5)), ("blue", Some(2)), ("new", None), ("old", Some(4))];
        let bgpd = bgpd.map(|(name, id)| (name.to_owned(), id)).into();
        let expected = [("red".to_owned(), Unbound::OtherId { bgpd: 5, zebra: 9 })].into();
        assert_eq!(stale(&zebra, &bgpd), expected);
    }
}
