//! The logs of FRR's daemons as tracing events, with real FRR. Needs root and FRR. In a test binary of its own, since
//! the subscriber is global to the process.

#![allow(clippy::unwrap_used, reason = "a test file")]

#[path = "frr/scratch.rs"]
mod scratch;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use perouter::frr::daemons::{DaemonEvent, Daemons, FRR_DIR};
use perouter::runtime::{Daemon, Runtime};
use perouter::types::VrfMode;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    /// Number of events of a daemon that contain `text`.
    fn count(&self, target: &str, text: &str) -> usize {
        let target = format!("\"target\":\"{target}\"");
        self.all().lines().filter(|line| line.contains(&target) && line.contains(text)).count()
    }

    fn all(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn supervise(runtime: &Runtime) -> (mpsc::Receiver<DaemonEvent>, CancellationToken, JoinHandle<()>) {
    let mut daemons = Daemons::new(runtime.clone(), VrfMode::Netns, FRR_DIR).await.unwrap();
    daemons.ensure().await.unwrap();
    let (events, receiver) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let task = tokio::spawn(daemons.supervise(events, stop.clone()));
    (receiver, stop, task)
}

async fn until(condition: impl Fn() -> bool, sink: &Sink) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "{}", sink.all());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn daemon_logs_become_events_also_after_adoption() {
    if !scratch::is_root() {
        return;
    }
    let sink = Sink::default();
    let writer = sink.clone();
    tracing_subscriber::fmt().json().with_writer(move || writer.clone()).init();
    let runtime = scratch::runtime("log");

    let (_events, stop, task) = supervise(&runtime).await;
    // A daemon may write this only after it has daemonized.
    until(|| sink.count("frr::zebra", "starting: vty@0") == 1, &sink).await;
    until(|| sink.count("frr::bgpd", "\"id\":\"T83RR-8SM5G\"") == 1, &sink).await;
    stop.cancel();
    task.await.unwrap();

    let (_events, stop, task) = supervise(&runtime).await;
    let pid = nix::unistd::Pid::from_raw(scratch::pids(&runtime)[&Daemon::Bfdd].try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    until(|| sink.count("frr::zebra", "disconnected") > 0, &sink).await;
    until(|| sink.count("frr::bfdd", "starting: vty@0") > 0, &sink).await;
    assert_eq!(sink.count("frr::zebra", "starting: vty@0"), 1, "an event was repeated");
    stop.cancel();
    task.await.unwrap();

    scratch::remove(&runtime).await;
}
