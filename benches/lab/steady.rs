//! A router with N L3VNIs: idle, restarted, and with many changes at once.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::unistd::Pid;

use crate::perouter_run::Perouter;
use crate::process::{cpu_ms, percent, rss_mb, traced};
use crate::report::{Budget, Report};
use crate::series::Series;
use crate::testbed::{Moment, TYPE5_EACH, Testbed, wait};

/// Maximum number of objects that change at once.
const BULK: usize = 100;
/// Passes per value of CPU time.
const PASSES: usize = 10;
const LINES: &str = "perouter_frr_lines_total";
const OPS: &str = "perouter_kernel_ops_total";
const TIME: &str = "perouter_pass_phase_seconds";
const PASSES_TOTAL: &str = "perouter_passes_total";
const PASS_INTERVAL: Duration = Duration::from_millis(150);

/// Measures one size.
pub fn measure(
    testbed: &mut Testbed,
    report: &mut Report,
    size: usize,
    runs: usize,
    idle_seconds: u64,
) -> anyhow::Result<()> {
    let all = size * TYPE5_EACH;
    testbed.start_host(size, &[])?;
    testbed.write_objects(size)?;
    let (mut perouter, start) = Perouter::start(testbed)?;
    testbed.await_type5(all, &start)?;
    perouter.await_ready()?;
    quiet_passes(testbed, &perouter, report, size, runs)?;
    let mut memory = Memory::default();
    bulk_change(testbed, &perouter, report, size, runs, &mut memory)?;
    restarts(testbed, &mut perouter, report, size, runs, &mut memory)?;
    idle(&perouter, report, size, runs, idle_seconds)?;
    memory.report(report, size);
    perouter.remove()?;
    testbed.stop_host()?;
    testbed.await_no_type5()
}

/// Triggers passes that find nothing to do, by netlink events about a link of the router.
fn trigger_passes(testbed: &Testbed, count: usize) -> anyhow::Result<()> {
    for number in 0..count {
        let alias = format!("bench{number}");
        testbed.node()?.check(&["ip", "-n", "perouter", "link", "set", "toswitch", "alias", &alias])?;
        std::thread::sleep(PASS_INTERVAL);
    }
    // Time for the status after the last pass.
    std::thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// Waits until there are no further passes.
fn await_quiet(perouter: &Perouter) -> anyhow::Result<()> {
    let mut last = perouter.metric(PASSES_TOTAL)?;
    wait("three seconds without a pass", || {
        std::thread::sleep(Duration::from_secs(3));
        let total = perouter.metric(PASSES_TOTAL).unwrap_or(f64::NAN);
        total - std::mem::replace(&mut last, total) < 1.0
    })
}

/// What a pass costs that finds nothing to do.
pub fn quiet_passes(
    testbed: &Testbed,
    perouter: &Perouter,
    report: &mut Report,
    size: usize,
    runs: usize,
) -> anyhow::Result<()> {
    const QUIET: &str = "perouter_passes_total{result=\"quiet\"}";
    let (mut cpu, mut took) = (Series::default(), Series::default());
    await_quiet(perouter)?;
    let (lines, ops) = (perouter.metric(LINES)?, perouter.metric(OPS)?);
    for _ in 0..runs {
        let (passes, before, time) = (perouter.metric(QUIET)?, cpu_ms(perouter.pid())?, perouter.metric(TIME)?);
        trigger_passes(testbed, PASSES)?;
        let count = perouter.metric(QUIET)? - passes;
        anyhow::ensure!(count >= 1.0, "there was no pass");
        cpu.push((cpu_ms(perouter.pid())? - before) / count);
        took.push((perouter.metric(TIME)? - time) * 1e3 / count);
    }
    let row = report.row(size, "reconcile pass with nothing to do, and its status: CPU", "ms", &cpu);
    row.budget_of_size(Budget::AtMost(10.0));
    report.row(size, "  duration of the pass", "ms", &took);
    let (mut calls, mut writes, mut configured) = (Series::default(), Series::default(), Series::default());
    for _ in 0..runs {
        let passes = perouter.metric(QUIET)?;
        let found = traced(perouter.pid(), || trigger_passes(testbed, PASSES))?;
        let count = perouter.metric(QUIET)? - passes;
        anyhow::ensure!(count >= 1.0, "there was no pass");
        #[allow(clippy::cast_precision_loss, reason = "thousands")]
        for (series, value) in
            [(&mut calls, found.all), (&mut writes, found.netlink_writes), (&mut configured, found.configurations)]
        {
            series.push(value as f64 / count);
        }
    }
    report.row(size, "  system calls", "", &calls);
    report.row(size, "  netlink writes", "", &writes).budget(Budget::AtMost(0.0));
    report.row(size, "  entries into FRR's configuration mode", "", &configured).budget(Budget::AtMost(0.0));
    let one = |value: f64| [value].into_iter().collect::<Series>();
    report
        .row(size, "  FRR lines, of all these passes", "", &one(perouter.metric(LINES)? - lines))
        .budget(Budget::AtMost(0.0));
    report.row(size, "  kernel operations", "", &one(perouter.metric(OPS)? - ops)).budget(Budget::AtMost(0.0));
    Ok(())
}

fn bulk_change(
    testbed: &mut Testbed,
    perouter: &Perouter,
    report: &mut Report,
    size: usize,
    runs: usize,
    memory: &mut Memory,
) -> anyhow::Result<()> {
    let (all, changed) = (size * TYPE5_EACH, size.min(BULK));
    let (mut total, mut frr) = (Series::default(), Series::default());
    for _ in 0..runs {
        for (filtered, wanted) in [(true, all - changed * TYPE5_EACH), (false, all)] {
            std::thread::sleep(Duration::from_secs(1));
            let start = Moment::now();
            for number in 1..=changed {
                testbed.write(number, filtered)?;
            }
            total.push(testbed.await_type5(wanted, &start)?);
            frr.push(perouter.pass_after(&start)?.phase("frr"));
        }
        memory.sample(perouter)?;
    }
    report.row(size, &format!("{changed} L3VNIs changed at once until the leaf has all changes"), "ms", &total);
    report.row(size, "  FRR apply", "ms", &frr);
    Ok(())
}

fn restarts(
    testbed: &mut Testbed,
    perouter: &mut Perouter,
    report: &mut Report,
    size: usize,
    runs: usize,
    memory: &mut Memory,
) -> anyhow::Result<()> {
    let (mut ready, mut changes) = (Series::default(), Series::default());
    for _ in 0..runs {
        let start = perouter.restart()?;
        perouter.await_ready()?;
        ready.push(start.ms());
        let (found, all) = (testbed.leaf().routes(), size * TYPE5_EACH);
        anyhow::ensure!(found == all, "after a restart the leaf has {found} of {all} Type-5 routes");
        changes.push(perouter.metric(LINES)? + perouter.metric(OPS)?);
        memory.sample(perouter)?;
    }
    report.row(size, "kill -9 of perouter, and start until everything is verified to be in place", "ms", &ready);
    report.row(size, "  kernel operations and FRR lines", "", &changes).budget(Budget::AtMost(0.0));
    Ok(())
}

fn processes(perouter: &Perouter) -> anyhow::Result<[(&'static str, Pid); 3]> {
    Ok([("perouter", perouter.pid()), ("zebra", perouter.daemon("zebra")?), ("bgpd", perouter.daemon("bgpd")?)])
}

/// CPU time while idle. The periods overlap: each begins a quarter of its length after the previous one.
pub fn idle(perouter: &Perouter, report: &mut Report, size: usize, runs: usize, seconds: u64) -> anyhow::Result<()> {
    const QUARTERS: u32 = 4;
    let period = Duration::from_secs(seconds);
    let pids = processes(perouter)?;
    await_quiet(perouter)?;
    let mut found = pids.map(|_| Vec::new());
    let quarters = QUARTERS as usize;
    for point in 0..runs + quarters {
        if point > 0 {
            std::thread::sleep(period / QUARTERS);
        }
        for (so_far, (_, pid)) in found.iter_mut().zip(&pids) {
            so_far.push(cpu_ms(*pid)?);
        }
    }
    let used = found.map(|so_far| {
        let periods = so_far.iter().zip(so_far.iter().skip(quarters));
        periods.map(|(begin, end)| percent(end - begin, period)).collect::<Series>()
    });
    for ((name, _), used) in pids.iter().zip(&used) {
        let row = report.row(size, &format!("idle: CPU of {name}"), "%", used);
        if *name == "perouter" {
            row.budget_of_size(Budget::AtMost(0.5));
        }
    }
    Ok(())
}

/// Resident memory of perouter and the daemons, after changes and after restarts.
#[derive(Default)]
pub struct Memory(BTreeMap<&'static str, Series>);

impl Memory {
    /// Measures once.
    pub fn sample(&mut self, perouter: &Perouter) -> anyhow::Result<()> {
        // Time for the verification of the last change.
        std::thread::sleep(Duration::from_secs(1));
        for (name, pid) in processes(perouter)? {
            self.0.entry(name).or_default().push(rss_mb(pid)?);
        }
        Ok(())
    }

    /// Reports all that was measured.
    pub fn report(&self, report: &mut Report, size: usize) {
        for (name, used) in &self.0 {
            let row = report.row(size, &format!("RSS of {name}"), "MB", used);
            if *name == "perouter" {
                row.budget_of_size(Budget::AtMost(30.0));
            }
        }
    }
}
