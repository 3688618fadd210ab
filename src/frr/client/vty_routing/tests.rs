use std::sync::Mutex;

use super::*;
use crate::frr::config::command::Intent;
use crate::frr::config::line::Line;
use crate::scope::Scope;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// Daemons that accept each line but those that `rejects` names, and the lines that they received, in order.
struct FakeDaemons {
    directory: tempfile::TempDir,
    received: Arc<Mutex<Vec<String>>>,
    restarts: watch::Sender<()>,
}

impl FakeDaemons {
    fn new(
        version: &'static str,
        rejects: impl Fn(&str, usize) -> Option<(u8, &'static str)> + Send + Sync + 'static,
    ) -> Self {
        let (directory, restarts) = (tempfile::tempdir().unwrap(), watch::Sender::new(()));
        let daemons = Self { directory, received: Arc::default(), restarts };
        let rejects = Arc::new(rejects);
        for daemon in Daemon::ALL {
            let listener = UnixListener::bind(daemons.directory.path().join(format!("{daemon}.vty"))).unwrap();
            let (received, rejects) = (Arc::clone(&daemons.received), Arc::clone(&rejects));
            let mut restarts = daemons.restarts.subscribe();
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::select! {
                        biased;
                        restarted = restarts.changed() => if restarted.is_err() { return },
                        () = serve(stream, version, &received, &*rejects) => {}
                    }
                }
            });
        }
        daemons
    }

    fn routing(&self) -> VtyRouting {
        VtyRouting::new(self.directory.path(), Duration::from_secs(20))
    }

    /// The stanzas of two VRFs.
    fn two_vrfs(daemon: Daemon) -> CommandBatch {
        let mut commands = Vec::new();
        for (vrf, vni) in [("blue", "vni 200"), ("red", "vni 100")] {
            let scope = Scope::Vrf(vrf.parse().unwrap());
            let header = Line::new(&format!("vrf {vrf}"));
            let command = |context: &[&Line], line: Line, intent| {
                let context = context.iter().map(|line| (*line).clone()).collect();
                VtyCommand { scope: scope.clone(), context, line, intent }
            };
            commands.push(command(&[], header.clone(), Intent::Enter));
            commands.push(command(&[&header], Line::new(vni), Intent::Set));
            commands.push(command(&[], Line::new("exit-vrf"), Intent::Leave));
        }
        let stage = BatchStage::Vrf;
        CommandBatch { stage, daemon, mode: CommandMode::Configure, retry: false, commands }
    }

    /// What is rejected of the stanzas of two VRFs, and what was received between `configure terminal` and `end`.
    async fn apply_two_vrfs(&self, daemon: Daemon) -> (Vec<String>, Vec<String>) {
        let rejected = self.routing().apply(&Self::two_vrfs(daemon)).await.unwrap();
        let received = self.received.lock().unwrap().clone();
        let [first, inner @ .., last] = received.as_slice() else { panic!("{received:?}") };
        assert_eq!([first, last], ["configure terminal", "end"]);
        (rejected.iter().map(ToString::to_string).collect(), inner.to_vec())
    }
}

/// Answers the lines of one connection until it is closed.
async fn serve(
    mut stream: UnixStream,
    version: &str,
    received: &Mutex<Vec<String>>,
    rejects: &(impl Fn(&str, usize) -> Option<(u8, &'static str)> + Sync),
) {
    let mut pending = Vec::new();
    while stream.read_buf(&mut pending).await.unwrap() > 0 {
        while let Some(end) = pending.iter().position(|byte| *byte == 0) {
            let line = String::from_utf8(pending.drain(..=end).take(end).collect()).unwrap();
            let (status, text) = match line.as_str() {
                "show version" => (0, version),
                "enable" => (0, ""),
                line => {
                    let mut received = received.lock().unwrap();
                    received.push(line.to_owned());
                    let times = received.iter().filter(|known| *known == line).count();
                    rejects(line, times).unwrap_or((0, ""))
                }
            };
            stream.write_all(&[text.as_bytes(), &[0, 0, 0, status]].concat()).await.unwrap();
        }
    }
}

const NEW: &str = "FRRouting 10.3 (host) on Linux(6.1).";
const OLD: &str = "FRRouting 8.4.4 (host) on Linux(6.1).";

#[tokio::test]
async fn the_lines_of_a_rejected_stanza_are_not_sent() {
    for (version, daemon, receiver) in [(OLD, Daemon::Bgpd, "bgpd"), (NEW, Daemon::Zebra, "mgmtd")] {
        let daemons = FakeDaemons::new(version, |line, _| (line == "vrf blue").then_some((13, "% no")));
        let (rejected, received) = daemons.apply_two_vrfs(daemon).await;
        assert_eq!(rejected, [format!("{receiver} rejects `vrf blue`: no")]);
        assert_eq!(received, ["vrf blue", "vrf red", "vni 100", "exit-vrf"]);
    }
}

#[tokio::test]
async fn the_last_stanza_is_skipped_as_well() {
    let daemons = FakeDaemons::new(NEW, |line, _| (line == "vrf red").then_some((13, "% no")));
    let (rejected, received) = daemons.apply_two_vrfs(Daemon::Zebra).await;
    assert_eq!(rejected.len(), 1);
    assert_eq!(received, ["vrf blue", "vni 200", "exit-vrf", "vrf red"]);
}

#[tokio::test]
async fn a_rejected_line_affects_no_other() {
    let daemons = FakeDaemons::new(NEW, |line, _| (line == "vni 200").then_some((13, "% no")));
    let (rejected, received) = daemons.apply_two_vrfs(Daemon::Zebra).await;
    assert_eq!(rejected, ["mgmtd rejects `vni 200`, vrf blue: no"]);
    assert_eq!(received, ["vrf blue", "vni 200", "exit-vrf", "vrf red", "vni 100", "exit-vrf"]);
}

#[tokio::test]
async fn lines_are_repeated_while_mgmtd_is_locked() {
    let daemons = FakeDaemons::new(NEW, |line, times| {
        let is_locked = matches!(line, "vrf blue" | "vni 100") && times < 3;
        is_locked.then_some((255, "% command failed, could not lock running DS"))
    });
    let (rejected, received) = daemons.apply_two_vrfs(Daemon::Zebra).await;
    assert_eq!(rejected, [""; 0]);
    let thrice =
        ["vrf blue", "vrf blue", "vrf blue", "vni 200", "exit-vrf", "vrf red", "vni 100", "vni 100", "vni 100"];
    assert_eq!(received[..9], thrice);
}

/// It has lost the configuration that the batch was made for: the next pass observes it first.
#[tokio::test]
async fn no_batch_is_sent_to_a_zebra_that_was_restarted() {
    let daemons = FakeDaemons::new(OLD, |_, _| None);
    let mut routing = daemons.routing();
    routing.running().await.unwrap();
    daemons.restarts.send_replace(());
    let error = routing.apply(&FakeDaemons::two_vrfs(Daemon::Zebra)).await.unwrap_err();
    assert!(matches!(error, RoutingError::Vty { daemon: Daemon::Zebra, .. }), "{error}");
    assert!(daemons.received.lock().unwrap().iter().all(|line| line == "show running-config"));
    routing.running().await.unwrap();
    assert_eq!(routing.apply(&FakeDaemons::two_vrfs(Daemon::Zebra)).await.unwrap(), []);
}
