//! bgpd outlives zebra, so that no peer notices the crash: the sessions stay established, and the kernel keeps forwarding.
//! In: the vty sockets and zebra's namespaces. Out: whether bgpd may go on, and that it has connected to the new zebra.
//!
//! bgpd connects to the new zebra by itself, FRR 8.4 after 10 s and 10 after 1 s (`lib/zclient.c`), and sends most of what
//! zebra must know. What is missing or dangerous is done here:
//! * In `netns` mode zebra numbers the VRFs as it finds their namespaces. With other numbers than the last zebra's, bgpd
//!   would put the routes of one VRF into another.
//! * bgpd sends again what it imports from EVPN, and not what it receives in a VRF itself (frr#22362, frr#23271). zebra would
//!   remove these routes when it sweeps stale ones.
//! * bgpd does not register again the next hops that zebra should track. One that is down then would stay down.
//! * bfdd removes the sessions of its clients when it connects to the new zebra, also those that the configuration names.
//!   With BFD, bgpd does not outlive zebra.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, iter};

use futures::future::BoxFuture;
use serde_json::Value;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::frr::client::vty::{Vty, VtyError};
use crate::frr::show::vni::SHOW_ZEBRA_VNI;
use crate::frr::show::vrf::SHOW_VRF;
use crate::runtime::Daemon;
use crate::runtime::Runtime;

/// The longest that a vty may take.
const LIMIT: Duration = Duration::from_secs(3);
/// FRR dials zebra every 10 s.
const JOIN_LIMIT: Duration = Duration::from_secs(25);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// For bgpd to take in what zebra tells it at first: VRFs, links, addresses, VNIs.
const TAKE_IN: Duration = Duration::from_millis(500);
/// Permits all. Where an instance begins or ends to use it, bgpd tells zebra all routes of it.
const PERMIT_ALL: &str = "pe-tell-zebra";

/// Names of VRFs and the numbers by which FRR's daemons speak of them.
pub(crate) type VrfIds = BTreeMap<String, u64>;

/// Ends when bgpd has come to the new zebra.
pub(crate) type Joining = BoxFuture<'static, Result<(), SurvivalError>>;

/// Why a daemon cannot go on with the new zebra.
#[derive(Debug, Error)]
pub(crate) enum SurvivalError {
    /// A vty.
    #[error(transparent)]
    Vty(#[from] VtyError),
    /// A daemon printed something else than JSON.
    #[error("read the VRFs of bgpd and the sessions of bfdd")]
    Unreadable(#[from] serde_json::Error),
    /// The links by which zebra finds namespaces.
    #[error("arrange {path}")]
    Arrange {
        /// The directory or link.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It would never hear that they are up.
    #[error("bgpd waits for next hops: {0}")]
    NextHops(String),
    /// Their peers would notice.
    #[error("bfdd has sessions, which do not outlive zebra")]
    Bfd,
    /// Routes would go to the wrong VRF.
    #[error("the new zebra numbers VRFs otherwise: {zebra:?} in place of {bgpd:?}")]
    OtherIds {
        /// As bgpd has them.
        bgpd: VrfIds,
        /// As the new zebra has them.
        zebra: VrfIds,
    },
    /// bgpd did not join in time.
    #[error("bgpd did not come to the new zebra within {} s", JOIN_LIMIT.as_secs())]
    Apart,
}

/// The numbers of bgpd's VRFs, if it can go on without zebra for a while.
pub(super) async fn vrf_ids(runtime: &Runtime) -> Result<VrfIds, SurvivalError> {
    let mut bgpd = Vty::connect(&runtime.vty_socket(Daemon::Bgpd), LIMIT).await?;
    let text = bgpd.run("show bgp vrfs json", LIMIT).await?.text;
    let Value::Object(vrfs) = serde_json::from_str::<Value>(&text)?["vrfs"].take() else { return Ok(VrfIds::new()) };
    let hops = bgpd.run("show bgp vrf all nexthop", LIMIT).await?.text;
    let lost: Vec<&str> = hops.lines().map(str::trim).filter(|line| line.contains(" invalid")).collect();
    if !lost.is_empty() {
        return Err(SurvivalError::NextHops(lost.join("; ")));
    }
    let mut bfdd = Vty::connect(&runtime.vty_socket(Daemon::Bfdd), LIMIT).await?;
    let sessions: Value = serde_json::from_str(&bfdd.run("show bfd peers json", LIMIT).await?.text)?;
    if sessions.as_array().is_some_and(|sessions| !sessions.is_empty()) {
        return Err(SurvivalError::Bfd);
    }
    Ok(vrfs.into_iter().filter_map(|(name, vrf)| Some((name, vrf["vrfId"].as_u64()?))).collect())
}

/// Has zebra find the namespaces in the order of these numbers when it starts. It gives out 1, 2, 3 in the order in which
/// a directory is read, which is that in which names were made or the other way round. Names that bgpd has no VRF of take
/// the numbers between. Fails where a number is missing, as after the removal of a VRF.
pub(super) fn arrange(dir: &Path, ids: &VrfIds) -> Result<(), SurvivalError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SurvivalError::Arrange { path, source }
    };
    let read = || -> io::Result<Vec<String>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let found = read().map_err(failed(dir))?;
    let wanted = in_order(&found, ids);
    let given = wanted.iter().cloned().zip(1..).collect();
    same(ids, given)?;
    let mut names = wanted.clone();
    for _ in 0..2 {
        if read().map_err(failed(dir))? == wanted {
            break;
        }
        names.reverse();
        for path in names.iter().map(|name| dir.join(name)) {
            let target = fs::read_link(&path).map_err(failed(&path))?;
            fs::remove_file(&path).map_err(failed(&path))?;
            symlink(target, &path).map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// The default VRF has number 0 with all.
fn same(bgpd: &VrfIds, zebra: VrfIds) -> Result<(), SurvivalError> {
    if bgpd.iter().any(|(name, id)| *id != 0 && zebra.get(name) != Some(id)) {
        return Err(SurvivalError::OtherIds { bgpd: bgpd.clone(), zebra });
    }
    Ok(())
}

fn in_order(found: &[String], ids: &VrfIds) -> Vec<String> {
    let mut known: Vec<(u64, &String)> = found.iter().filter_map(|name| Some((*ids.get(name)?, name))).collect();
    known.sort_unstable();
    let mut others = found.iter().filter(|name| !ids.contains_key(*name));
    let mut wanted: Vec<String> = Vec::new();
    for (id, name) in known {
        let before = usize::try_from(id).unwrap_or(usize::MAX).saturating_sub(1).saturating_sub(wanted.len());
        wanted.extend(others.by_ref().take(before).cloned());
        wanted.push(name.clone());
    }
    wanted.extend(others.cloned());
    wanted
}

/// Joins bgpd to the new zebra. Takes as long as FRR does. Sends nothing where the numbers of VRFs differ.
pub(super) async fn join(runtime: Runtime, ids: VrfIds) -> Result<(), SurvivalError> {
    let mut zebra = Vty::connect(&runtime.vty_socket(Daemon::Zebra), LIMIT).await?;
    let deadline = Instant::now() + JOIN_LIMIT;
    let found = zebra_ids(&zebra.run(SHOW_VRF, LIMIT).await?.text);
    same(&ids, found)?;
    while !is_client(&zebra.run(SHOW_CLIENTS, LIMIT).await?.text, Daemon::Bgpd) {
        if Instant::now() >= deadline {
            return Err(SurvivalError::Apart);
        }
        sleep(LOOK_EVERY).await;
    }
    sleep(TAKE_IN).await;
    // Not before zebra has the VNIs: without them it cannot take a route to a VTEP.
    let up = |text: &str| !text.contains("\"Down\"");
    while !up(&zebra.run(SHOW_ZEBRA_VNI, LIMIT).await?.text) && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
    }
    let mut bgpd = Vty::connect(&runtime.vty_socket(Daemon::Bgpd), LIMIT).await?;
    let instances = bgpd.run("show running-config", LIMIT).await?.text;
    let commands = telling(&instances);
    bgpd.run_all(&commands.iter().map(String::as_str).collect::<Vec<_>>(), JOIN_LIMIT).await?;
    Ok(())
}

/// Has every instance tell zebra all its routes.
fn telling(running_config: &str) -> Vec<String> {
    let mut commands: Vec<String> =
        ["configure terminal".into(), format!("route-map {PERMIT_ALL} permit 65535")].into();
    commands.push("exit".into());
    for header in running_config.lines().filter(|line| line.starts_with("router bgp ")) {
        commands.push(header.to_owned());
        for family in ["ipv4", "ipv6"] {
            commands.push(format!("address-family {family} unicast"));
            commands.extend([format!("table-map {PERMIT_ALL}"), format!("no table-map {PERMIT_ALL}"), "exit".into()]);
        }
        commands.push("exit".into());
    }
    commands.extend(iter::once(format!("no route-map {PERMIT_ALL}")).chain(iter::once("end".into())));
    commands
}

const SHOW_CLIENTS: &str = "show zebra client summary";

/// Whether a daemon has come to zebra.
pub(crate) async fn has_joined(runtime: &Runtime, daemon: Daemon) -> bool {
    let ask = async {
        let mut zebra = Vty::connect(&runtime.vty_socket(Daemon::Zebra), LIMIT).await?;
        zebra.run(SHOW_CLIENTS, LIMIT).await
    };
    ask.await.is_ok_and(|reply| is_client(&reply.text, daemon))
}

/// Reads a table whose first column is the protocol.
fn is_client(table: &str, daemon: Daemon) -> bool {
    let protocol = match daemon {
        Daemon::Bgpd => "bgp",
        Daemon::Bfdd => "bfd",
        Daemon::Staticd => "static",
        Daemon::Mgmtd | Daemon::Zebra => return false,
    };
    table.lines().any(|line| line.split_whitespace().next() == Some(protocol))
}

/// Reads `vrf red id 5 table 1001` and `vrf red id 1 netns /run/netns/red`.
fn zebra_ids(text: &str) -> VrfIds {
    let one = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["vrf", name, "id", id, ..] => Some((name.to_owned(), id.parse().ok()?)),
        _ => None,
    };
    text.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests;
