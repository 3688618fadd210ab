use std::sync::Mutex;

use super::*;
use crate::frr::config::line::Line;
use crate::scope::Scope;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// Daemons that take each line but what `refuses` says, and the lines that they heard, in order.
struct World {
    directory: tempfile::TempDir,
    heard: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new(
        version: &'static str,
        refuses: impl Fn(&str, usize) -> Option<(u8, &'static str)> + Send + Sync + 'static,
    ) -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap(), heard: Arc::default() };
        let refuses = Arc::new(refuses);
        for daemon in Daemon::ALL {
            let listener = UnixListener::bind(world.directory.path().join(format!("{daemon}.vty"))).unwrap();
            let (heard, refuses) = (Arc::clone(&world.heard), Arc::clone(&refuses));
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut pending = Vec::new();
                while stream.read_buf(&mut pending).await.unwrap() > 0 {
                    while let Some(end) = pending.iter().position(|byte| *byte == 0) {
                        let line = String::from_utf8(pending.drain(..=end).take(end).collect()).unwrap();
                        let (status, text) = match line.as_str() {
                            "show version" => (0, version),
                            "enable" => (0, ""),
                            line => {
                                let mut heard = heard.lock().unwrap();
                                heard.push(line.to_owned());
                                let times = heard.iter().filter(|known| *known == line).count();
                                refuses(line, times).unwrap_or((0, ""))
                            }
                        };
                        stream.write_all(&[text.as_bytes(), &[0, 0, 0, status]].concat()).await.unwrap();
                    }
                }
            });
        }
        world
    }

    /// What is refused of two VRFs, and what was heard between `configure terminal` and `end`.
    async fn tell(&self, daemon: Daemon) -> (Vec<String>, Vec<String>) {
        let mut routing = VtyRouting::new(self.directory.path(), Duration::from_secs(20));
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
        let batch = CommandBatch { stage, daemon, mode: CommandMode::Configure, retry: false, commands };
        let refused = routing.apply(&batch).await.unwrap();
        let heard = self.heard.lock().unwrap().clone();
        let [first, inner @ .., last] = heard.as_slice() else { panic!("{heard:?}") };
        assert_eq!([first, last], ["configure terminal", "end"]);
        (refused.iter().map(ToString::to_string).collect(), inner.to_vec())
    }
}

const NEW: &str = "FRRouting 10.3 (host) on Linux(6.1).";
const OLD: &str = "FRRouting 8.4.4 (host) on Linux(6.1).";

#[tokio::test]
async fn the_lines_of_a_stanza_that_is_refused_are_not_told() {
    for (version, daemon, told) in [(OLD, Daemon::Bgpd, "bgpd"), (NEW, Daemon::Zebra, "mgmtd")] {
        let world = World::new(version, |line, _| (line == "vrf blue").then_some((13, "% no")));
        let (refused, heard) = world.tell(daemon).await;
        assert_eq!(refused, [format!("{told} does not take `vrf blue`: no")]);
        assert_eq!(heard, ["vrf blue", "vrf red", "vni 100", "exit-vrf"]);
    }
}

#[tokio::test]
async fn the_last_stanza_is_left_as_well_when_it_is_refused() {
    let world = World::new(NEW, |line, _| (line == "vrf red").then_some((13, "% no")));
    let (refused, heard) = world.tell(Daemon::Zebra).await;
    assert_eq!(refused.len(), 1);
    assert_eq!(heard, ["vrf blue", "vni 200", "exit-vrf", "vrf red"]);
}

#[tokio::test]
async fn a_line_that_is_refused_takes_no_other_along() {
    let world = World::new(NEW, |line, _| (line == "vni 200").then_some((13, "% no")));
    let (refused, heard) = world.tell(Daemon::Zebra).await;
    assert_eq!(refused, ["mgmtd does not take `vni 200`, vrf blue: no"]);
    assert_eq!(heard, ["vrf blue", "vni 200", "exit-vrf", "vrf red", "vni 100", "exit-vrf"]);
}

#[tokio::test]
async fn a_mgmtd_that_is_locked_is_told_again() {
    let world = World::new(NEW, |line, times| {
        let is_locked = matches!(line, "vrf blue" | "vni 100") && times < 3;
        is_locked.then_some((255, "% command failed, could not lock running DS"))
    });
    let (refused, heard) = world.tell(Daemon::Zebra).await;
    assert_eq!(refused, [""; 0]);
    let thrice =
        ["vrf blue", "vrf blue", "vrf blue", "vni 200", "exit-vrf", "vrf red", "vni 100", "vni 100", "vni 100"];
    assert_eq!(heard[..9], thrice);
}
