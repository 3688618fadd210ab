//! bgpd stays while zebra is restarted, so that no peer notices: the sessions stay, and the kernel keeps forwarding. In: the
//! vty sockets and the directory in which zebra finds namespaces. Out: whether bgpd can stay, and when it is connected to the
//! new zebra.
//!
//! FRR has bgpd connect to the new zebra by itself, 8.4 after 10 s and 10 after 1 s (`lib/zclient.c`), and send most of what
//! zebra must know. What is missing or dangerous is handled here:
//! * In `netns` mode zebra numbers the VRFs in the order in which it finds their namespaces. With other numbers than those of
//!   the last zebra, bgpd would put the routes of one VRF into another.
//! * bgpd sends again what it imports from EVPN, but not what it receives in a VRF itself (frr#22362, frr#23271). zebra would
//!   remove these routes when it sweeps those that no client has claimed.
//! * It does not send again either what it imports into L2VNIs: MAC addresses, neighbors and VTEPs. The entries stay in the kernel, and
//!   nobody would remove one whose route is withdrawn.
//! * bgpd does not register again the next hops that zebra should track. One that is down would stay down for ever.
//! * bgpd keeps a VRF that was deleted while there was no zebra, and ignores its successor if that has another id.
//! * bfdd tears down the sessions of its clients when it connects to the new zebra, also those of the configuration. With BFD,
//!   bgpd cannot stay.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, iter};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::stale_vrfs::{self, StaleVrfs};
use crate::frr::client::vty::{Vty, VtyError};
use crate::frr::show::ShowError;
use crate::frr::show::vni::{self, SHOW_BGP_VNI, SHOW_ZEBRA_VNI, VniState, VniType};
use crate::frr::show::vrf::SHOW_VRF;
pub(crate) use crate::frr::show::vrf_binding::VrfIds;
use crate::frr::show::vrf_binding::vrf_ids as zebra_ids;
use crate::runtime::{Daemon, Runtime};
use crate::types::{Vni, VrfMode};

/// Time limit of a vty exchange.
const LIMIT: Duration = Duration::from_secs(3);
/// bgpd of FRR 8.4 tries to connect to zebra every 10 s.
const RECONNECT_LIMIT: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(50);
/// For zebra to be configured before bgpd connects.
const HOLD: Duration = Duration::from_secs(5);
/// zebra: L3VNIs, up or not, also before bgpd has enabled EVPN.
const SHOW_CONFIGURED: &str = "show vrf vni json";
/// For bgpd to process what zebra sends first: VRFs, links, addresses, VNIs.
const SETTLE: Duration = Duration::from_millis(500);
/// A route map that permits all. When an instance begins or ceases to use it, bgpd sends zebra all routes of the instance.
const PERMIT_ALL: &str = "pe-resend";

/// A route target that no route has: AS number 0 is reserved (RFC 7607).
const NOBODYS: &str = "0:4294967295";

/// Completes when bgpd is connected to the new zebra and has sent it all routes.
pub(crate) type Reconnecting = BoxFuture<'static, Result<(), ReconnectError>>;

/// Why bgpd has to be restarted with zebra.
#[derive(Debug, Error)]
pub(crate) enum ReconnectError {
    /// A vty exchange.
    #[error(transparent)]
    Vty(#[from] VtyError),
    /// A daemon printed something other than JSON.
    #[error("read the sessions of bfdd")]
    Unreadable(#[from] serde_json::Error),
    /// The same.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// The links by which zebra finds namespaces.
    #[error("change {path}")]
    Arrange {
        /// The directory or link.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It would never be notified that they are up.
    #[error("bgpd waits for next hops: {0}")]
    NextHops(String),
    /// Their peers would notice.
    #[error("bfdd has sessions, which go down with zebra")]
    Bfd,
    /// Routes would get into the wrong VRF.
    #[error(
        "after its restart zebra has other ids for the VRFs ({}) than bgpd ({}), which would install routes in the wrong VRF",
        numbered(zebra),
        numbered(bgpd)
    )]
    OtherIds {
        /// As bgpd has them.
        bgpd: VrfIds,
        /// As the new zebra has them.
        zebra: VrfIds,
    },
    /// What is configured in them has no effect.
    #[error("bgpd has VRFs that are gone: {}", stale(.0))]
    Stale(StaleVrfs),
    /// bgpd did not connect in time.
    #[error("bgpd did not connect to the new zebra within {} s", RECONNECT_LIMIT.as_secs())]
    NotConnected,
}

fn numbered(ids: &VrfIds) -> String {
    ids.iter().map(|(name, id)| format!("{name} {id}")).collect::<Vec<_>>().join(", ")
}

fn stale(vrfs: &StaleVrfs) -> String {
    vrfs.iter().map(|(vrf, unbound)| format!("{vrf}: {unbound}")).collect::<Vec<_>>().join(", ")
}

impl From<stale_vrfs::ReadError> for ReconnectError {
    fn from(error: stale_vrfs::ReadError) -> Self {
        match error {
            stale_vrfs::ReadError::Vty(error) => Self::Vty(error),
            stale_vrfs::ReadError::Show(error) => Self::Show(error),
        }
    }
}

/// Checks whether bgpd can run without zebra until there is a new one, and prepares for that. Returns its VRFs.
///
/// `disconnected`: those of a bgpd that had not connected to the zebra that exited. It could run without zebra before, and can
/// for longer: that its next hops are unknown for the moment means nothing.
pub(crate) async fn keep_bgpd(
    runtime: &Runtime,
    mode: VrfMode,
    disconnected: Option<&VrfIds>,
) -> Result<VrfIds, ReconnectError> {
    let ids = match disconnected {
        Some(known) => known.clone().into_iter().chain(bgpd_ids(runtime).await.unwrap_or_default()).collect(),
        None => vrf_ids(runtime).await?,
    };
    if mode == VrfMode::Netns {
        arrange(&runtime.zebra_netns_dir(), &ids)?;
    }
    Ok(ids)
}

/// Completes the reconnection of bgpd to the new zebra. `connect` permits it.
pub(crate) fn reconnect(runtime: Runtime, ids: VrfIds, connect: impl Fn() + Send + Sync + 'static) -> Reconnecting {
    complete(runtime, ids, connect).boxed()
}

/// The numbers of bgpd's VRFs. An instance without one gets it from the new zebra.
async fn bgpd_ids(runtime: &Runtime) -> Result<VrfIds, ReconnectError> {
    let instances = stale_vrfs::bgpd_instances(runtime).await?;
    Ok(instances.into_iter().filter_map(|(name, id)| Some((name, id?))).collect())
}

/// The numbers of bgpd's VRFs, if it can run without zebra for a while.
pub(crate) async fn vrf_ids(runtime: &Runtime) -> Result<VrfIds, ReconnectError> {
    let ids = bgpd_ids(runtime).await?;
    if ids.is_empty() {
        return Ok(ids);
    }
    let mut bgpd = Vty::connect(&runtime.vty_socket(Daemon::Bgpd), LIMIT).await?;
    let hops = bgpd.run("show bgp vrf all nexthop", LIMIT).await?.text;
    let lost: Vec<&str> = hops.lines().map(str::trim).filter(|line| line.contains(" invalid")).collect();
    if !lost.is_empty() {
        return Err(ReconnectError::NextHops(lost.join("; ")));
    }
    let mut bfdd = Vty::connect(&runtime.vty_socket(Daemon::Bfdd), LIMIT).await?;
    let sessions: Value = serde_json::from_str(&bfdd.run("show bfd peers json", LIMIT).await?.text)?;
    if sessions.as_array().is_some_and(|sessions| !sessions.is_empty()) {
        return Err(ReconnectError::Bfd);
    }
    Ok(ids)
}

/// Makes zebra find the namespaces in the order of these numbers when it starts. It assigns 1, 2, 3 in the order in which the
/// directory is read, which is the order in which names were created or the reverse. Names without a VRF in bgpd get the
/// numbers in between. Fails if a number cannot be assigned, as after the removal of a VRF.
fn arrange(dir: &Path, ids: &VrfIds) -> Result<(), ReconnectError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ReconnectError::Arrange { path, source }
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

/// The default VRF always has number 0.
fn same(bgpd: &VrfIds, zebra: VrfIds) -> Result<(), ReconnectError> {
    if bgpd.iter().any(|(name, id)| *id != 0 && zebra.get(name) != Some(id)) {
        return Err(ReconnectError::OtherIds { bgpd: bgpd.clone(), zebra });
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

/// Waits until bgpd is connected, and has it send all routes. Repeated where a daemon does not answer: one that is busy answers
/// later, and an exit is noticed by others.
async fn complete(runtime: Runtime, ids: VrfIds, connect: impl Fn() + Send + Sync) -> Result<(), ReconnectError> {
    let deadline = Instant::now() + RECONNECT_LIMIT;
    loop {
        match attempt(&runtime, &ids, &connect, deadline).await {
            Err(ReconnectError::Vty(error)) if Instant::now() < deadline => {
                tracing::debug!(error = &error as &dyn std::error::Error, "connecting bgpd to the new zebra");
                sleep(POLL).await;
            }
            done => return done,
        }
    }
}

/// Sends nothing if the numbers of VRFs differ.
async fn attempt(
    runtime: &Runtime,
    ids: &VrfIds,
    connect: &(impl Fn() + Sync),
    deadline: Instant,
) -> Result<(), ReconnectError> {
    let mut zebra = Vty::connect(&runtime.vty_socket(Daemon::Zebra), LIMIT).await?;
    let found = zebra_ids(&zebra.run(SHOW_VRF, LIMIT).await?.text);
    same(ids, found)?;
    let mut bgpd = Vty::connect(&runtime.vty_socket(Daemon::Bgpd), LIMIT).await?;
    // Its routes to VTEPs would be removed by a zebra without L3VNIs.
    let hold = Instant::now() + HOLD;
    while Instant::now() < hold {
        let of_zebra = zebra.run(SHOW_CONFIGURED, LIMIT).await?.text;
        if configures(&of_zebra, &bgpd.run(SHOW_BGP_VNI, LIMIT).await?.text)? {
            break;
        }
        sleep(POLL).await;
    }
    connect();
    while !is_client(&zebra.run(SHOW_CLIENTS, LIMIT).await?.text, Daemon::Bgpd) {
        if Instant::now() >= deadline {
            return Err(ReconnectError::NotConnected);
        }
        sleep(POLL).await;
    }
    sleep(SETTLE).await;
    // Not before zebra has the VNIs: without them it cannot install a route to a VTEP.
    while Instant::now() < deadline {
        let of_zebra = zebra.run(SHOW_ZEBRA_VNI, LIMIT).await?.text;
        if all_up(&of_zebra, &bgpd.run(SHOW_BGP_VNI, LIMIT).await?.text)? {
            break;
        }
        sleep(POLL).await;
    }
    let instances = bgpd.run("show running-config", LIMIT).await?.text;
    let vnis = vni::vnis("", &bgpd.run(SHOW_BGP_VNI, LIMIT).await?.text)?;
    let segments = vnis.into_iter().filter(|(_, state)| state.vni_type == VniType::L2).map(|(vni, _)| vni);
    let commands = resend(&instances, &segments.collect::<Vec<_>>());
    bgpd.run_all(&commands.iter().map(String::as_str).collect::<Vec<_>>(), RECONNECT_LIMIT).await?;
    // One that was rebuilt meanwhile.
    let gone = stale_vrfs::confirmed(runtime).await?;
    if gone.is_empty() { Ok(()) } else { Err(ReconnectError::Stale(gone)) }
}

/// Whether all L3VNIs that bgpd has are configured in zebra: `{"vrfs": [{"vrf": "red", "vni": 100, …}]}`.
fn configures(zebra: &str, bgpd: &str) -> Result<bool, ShowError> {
    let found: Value = serde_json::from_str(zebra).unwrap_or_default();
    let vrfs = found["vrfs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has = |vni: &Vni| vrfs.iter().any(|vrf| vrf["vni"].as_u64() == Some(vni.get().into()));
    let of_bgpd = vni::vnis("", bgpd)?;
    Ok(of_bgpd.iter().filter(|(_, state)| state.vni_type == VniType::L3).all(|(vni, _)| has(vni)))
}

/// Whether zebra has all L3VNIs up that it or bgpd lists.
fn all_up(zebra: &str, bgpd: &str) -> Result<bool, ShowError> {
    let is_l3 = |(_, state): &(&Vni, &VniState)| state.vni_type == VniType::L3;
    let (of_zebra, of_bgpd) = (vni::vnis(zebra, "")?, vni::vnis("", bgpd)?);
    // One that is not configured yet is an L2VNI for zebra.
    let listed = of_bgpd
        .iter()
        .filter(is_l3)
        .all(|(vni, _)| of_zebra.get(vni).is_some_and(|state| state.vni_type == VniType::L3));
    Ok(listed && of_zebra.iter().filter(is_l3).all(|(_, state)| state.up))
}

/// Commands that make every instance send zebra all its routes, and what it has received for these L2VNIs.
fn resend(running_config: &str, segments: &[Vni]) -> Vec<String> {
    let mut commands: Vec<String> =
        ["configure terminal".into(), format!("route-map {PERMIT_ALL} permit 65535")].into();
    commands.push("exit".into());
    for header in running_config.lines().filter(|line| line.starts_with("router bgp ")) {
        commands.push(header.to_owned());
        for family in ["ipv4", "ipv6"] {
            commands.push(format!("address-family {family} unicast"));
            commands.extend([format!("table-map {PERMIT_ALL}"), format!("no table-map {PERMIT_ALL}"), "exit".into()]);
        }
        if !header.contains(" vrf ") {
            commands.extend(segments.iter().flat_map(|vni| resend_segment(running_config, *vni)));
        }
        commands.push("exit".into());
    }
    commands.extend(iter::once(format!("no route-map {PERMIT_ALL}")).chain(iter::once("end".into())));
    commands
}

/// Commands in the default instance that make bgpd import the routes of an L2VNI once more. What it advertises stays as it is.
fn resend_segment(running_config: &str, vni: Vni) -> Vec<String> {
    let header = format!("  vni {vni}");
    let mut commands = vec!["address-family l2vpn evpn".to_owned(), format!("vni {vni}")];
    commands.extend([format!("route-target import {NOBODYS}"), format!("no route-target import {NOBODYS}")]);
    commands.push("exit-vni".into());
    if !running_config.lines().any(|line| line == header) {
        commands.push(format!("no vni {vni}"));
    }
    commands.push("exit-address-family".into());
    commands
}

const SHOW_CLIENTS: &str = "show zebra client summary";

/// Whether a daemon is connected to zebra.
pub(crate) async fn is_connected(runtime: &Runtime, daemon: Daemon) -> bool {
    let clients = async {
        let mut zebra = Vty::connect(&runtime.vty_socket(Daemon::Zebra), LIMIT).await?;
        zebra.run(SHOW_CLIENTS, LIMIT).await
    };
    clients.await.is_ok_and(|reply| is_client(&reply.text, daemon))
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

#[cfg(test)]
mod tests;
