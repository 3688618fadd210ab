//! Resource usage of processes. In: pids in the machine's namespace. Out: CPU time, memory, system calls.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::testbed::wait;

/// CPU time so far in milliseconds, threads that exited included; the kernel counts it in ticks of 10 ms.
pub fn cpu_ms(pid: Pid) -> anyhow::Result<f64> {
    const TICK_MS: f64 = 10.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in parentheses, may contain blanks.
    let (_, fields) = stat.rsplit_once(") ").context("a process without a name")?;
    let ticks: f64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks * TICK_MS)
}

/// CPU time in milliseconds as a share of a period, in percent of one core.
pub fn percent(cpu_ms: f64, period: Duration) -> f64 {
    cpu_ms / (period.as_secs_f64() * 1e3) * 100.0
}

/// Resident memory in MB (10^6 bytes).
pub fn rss_mb(pid: Pid) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map(|kib: f64| kib * 1024.0 / 1e6).with_context(|| format!("no VmRSS of process {pid}"))
}

/// Waits for the process with a name in a network namespace. zebra in `netns` mode switches temporarily into others.
pub fn in_netns(name: &str, netns: &Path) -> anyhow::Result<Pid> {
    let inode = fs::metadata(netns).with_context(|| netns.display().to_string())?.ino();
    let mut found = None;
    wait(&format!("a process {name} in {}", netns.display()), || {
        found = find(name, inode).ok().flatten();
        found.is_some()
    })?;
    found.context("a process")
}

fn find(name: &str, inode: u64) -> anyhow::Result<Option<Pid>> {
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        let comm = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if comm.trim() == name && fs::metadata(path.join("ns/net")).is_ok_and(|found| found.ino() == inode) {
            return Ok(Some(Pid::from_raw(pid)));
        }
    }
    Ok(None)
}

/// System calls of a process.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    /// All system calls.
    pub all: usize,
    /// Netlink requests that change something.
    pub netlink_writes: usize,
    /// Messages that open FRR's configuration mode.
    pub configurations: usize,
}

/// Counts the system calls of a process while `work` runs.
pub fn traced(pid: Pid, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Calls> {
    let output = tempfile::NamedTempFile::new()?;
    let mut strace = Command::new("strace")
        .args(["-f", "-q", "-s", "64", "-o"])
        .arg(output.path())
        .args(["-p", &pid.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("strace")?;
    // strace attaches to one thread after the other, and does not report when it has finished.
    std::thread::sleep(Duration::from_millis(500));
    let result = work();
    let strace_pid = i32::try_from(strace.id()).map(Pid::from_raw)?;
    kill(strace_pid, Signal::SIGINT)?;
    strace.wait()?;
    result?;
    let mut calls = Calls::default();
    for line in fs::read_to_string(output.path())?.lines() {
        let Some((_, call)) = line.split_once(' ') else { continue };
        let Some((name, arguments)) = call.trim_start().split_once('(') else { continue };
        if name.starts_with('<') {
            continue;
        }
        calls.all += 1;
        if name.starts_with("send") || name.starts_with("write") {
            let changes = ["nlmsg_type=RTM_NEW", "nlmsg_type=RTM_DEL", "nlmsg_type=RTM_SET", "nlmsg_type=NFNL_"];
            calls.netlink_writes += usize::from(changes.iter().any(|change| arguments.contains(change)));
            calls.configurations += usize::from(arguments.contains("configure terminal"));
        }
    }
    Ok(calls)
}
