//! The first configuration of a bgpd that restarts gracefully (`-K`): its sessions start when the whole configuration is there.
//! In: exchanges with zebra and bgpd. Out: whether bgpd waits for that, and the exchange that starts them.
//!
//! From then on FRR advertises nothing before the End-of-RIB of all peers has arrived in all instances. It starts the sessions
//! 5 s after the last change of a policy, unless another delay is configured; here the policies are new.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::exchange::POLL;
use crate::frr::client::bulk_commit::{COLLECT, COMMIT, CONFIGURE, END};
use crate::frr::client::port::RoutingError;
use crate::frr::show::restart::{SHOW_ROUTER, is_in_progress};
use crate::frr::show::vni::{self, VniType};
use crate::runtime::Daemon;

/// bgpd has the L3VNIs so soon after its default instance.
const KNOWN: Duration = Duration::from_secs(3);
/// Makes FRR start the sessions at once. Not part of a configuration: removed at the end.
const SHORT_DELAY: &str = "bgp route-map delay-timer 1";

/// Whether the bgpd to which the connection is open has started its sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum SessionStart {
    /// It was not asked.
    #[default]
    Unknown,
    /// They start by themselves, or have been started.
    Started,
    /// They wait.
    Held,
}

/// Exchanges with daemons.
pub(super) trait Exchange {
    /// The output of a command.
    async fn ask(&mut self, daemon: Daemon, command: &str) -> Result<String, RoutingError>;

    /// Sends lines to bgpd.
    async fn send_to_bgpd(&mut self, lines: &[&str]) -> Result<(), RoutingError>;
}

/// Asks a bgpd without a configuration, or with a part of it.
pub(super) async fn read(daemons: &mut impl Exchange) -> Result<SessionStart, RoutingError> {
    if !is_in_progress(&daemons.ask(Daemon::Bgpd, SHOW_ROUTER).await?) {
        return Ok(SessionStart::Started);
    }
    daemons.send_to_bgpd(&[CONFIGURE, SHORT_DELAY, END]).await?;
    Ok(SessionStart::Held)
}

/// Starts the sessions of a bgpd that waits for that; not before it has its default instance.
pub(super) async fn start(daemons: &mut impl Exchange) -> Result<SessionStart, RoutingError> {
    let running = daemons.ask(Daemon::Bgpd, "show running-config").await?;
    if !running.lines().any(is_default_instance) {
        return Ok(SessionStart::Held);
    }
    await_vnis(daemons, running.lines().filter(|line| is_vrf_instance(line)).count()).await?;
    daemons.send_to_bgpd(&[CONFIGURE, COLLECT, COMMIT, "no bgp route-map delay-timer", END]).await?;
    tracing::info!("the whole configuration is in place: sessions start, in a graceful restart");
    Ok(SessionStart::Started)
}

/// Waits until bgpd has the L3VNIs that zebra has, one for each of its instances of IP-VRFs at least.
async fn await_vnis(daemons: &mut impl Exchange, instances: usize) -> Result<(), RoutingError> {
    let end = Instant::now() + KNOWN;
    loop {
        let zebra = daemons.ask(Daemon::Zebra, vni::SHOW_ZEBRA_VNI).await?;
        let bgpd = daemons.ask(Daemon::Bgpd, vni::SHOW_BGP_VNI).await?;
        let vnis = vni::vnis(&zebra, &bgpd).unwrap_or_default();
        let l3vnis = || vnis.values().filter(|state| state.up && state.vni_type == VniType::L3);
        if l3vnis().count() >= instances && l3vnis().all(|state| state.in_bgp) {
            return Ok(());
        }
        if Instant::now() >= end {
            tracing::warn!("bgpd does not know all L3VNIs when its sessions start");
            return Ok(());
        }
        sleep(POLL).await;
    }
}

/// `router bgp 64514`
fn is_default_instance(line: &str) -> bool {
    line.strip_prefix("router bgp ").is_some_and(|rest| !rest.trim_end().contains(' '))
}

/// `router bgp 64514 vrf red`
fn is_vrf_instance(line: &str) -> bool {
    line.strip_prefix("router bgp ").is_some_and(|rest| rest.contains(" vrf "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Daemons of a restart: what they answer, and what bgpd received.
    struct Restart {
        instance: &'static str,
        received: Vec<String>,
    }

    impl Exchange for Restart {
        async fn ask(&mut self, daemon: Daemon, command: &str) -> Result<String, RoutingError> {
            let text = match (daemon, command) {
                (Daemon::Bgpd, SHOW_ROUTER) => r#"{"bgpStartedGracefully":true,"grComplete":false}"#,
                (Daemon::Bgpd, "show running-config") => self.instance,
                _ => "{}",
            };
            Ok(text.to_owned())
        }

        async fn send_to_bgpd(&mut self, lines: &[&str]) -> Result<(), RoutingError> {
            self.received.extend(lines.iter().map(ToString::to_string));
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_sessions_start_when_there_is_a_default_instance() {
        let mut daemons = Restart { instance: "!\nrouter bgp 1 vrf a\n", received: vec![] };
        assert_eq!(read(&mut daemons).await.unwrap(), SessionStart::Held);
        assert_eq!(start(&mut daemons).await.unwrap(), SessionStart::Held);
        daemons.instance = "!\nrouter bgp 1\nexit\n";
        assert_eq!(start(&mut daemons).await.unwrap(), SessionStart::Started);
        let short = ["configure terminal", "bgp route-map delay-timer 1", "end"];
        let begin = ["configure terminal", "XFRR_start_configuration", "XFRR_end_configuration"];
        assert_eq!(daemons.received, [&short[..], &begin, &["no bgp route-map delay-timer", "end"]].concat());
    }

    #[test]
    fn the_default_instance_has_no_vrf() {
        let lines = ["router bgp 64514", "router bgp 64514 vrf red", " bgp router-id 1.1.1.1"];
        assert_eq!(lines.map(is_default_instance), [true, false, false]);
    }
}
