//! A router with N L3VNIs that has nothing to do, one that is restarted, and one where much changes at once.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::unistd::Pid;

use crate::ours::Ours;
use crate::process::{cpu_ms, percent, rss_mb, traced};
use crate::report::{Budget, Report};
use crate::sample::Series;
use crate::world::{Moment, TYPE5_EACH, World, wait};

/// Objects that change at once, at most.
const BULK: usize = 100;
/// Passes for one value of CPU time.
const PASSES: usize = 10;
const LINES: &str = "perouter_frr_lines_total";
const OPS: &str = "perouter_kernel_ops_total";
const TIME: &str = "perouter_pass_phase_seconds";
const PASSES_MADE: &str = "perouter_passes_total";
const BETWEEN: Duration = Duration::from_millis(150);

/// Measures one size.
pub fn measure(
    world: &mut World,
    report: &mut Report,
    size: usize,
    runs: usize,
    idle_seconds: u64,
) -> anyhow::Result<()> {
    let all = size * TYPE5_EACH;
    world.start_host(size, &[])?;
    world.write_objects(size)?;
    let (mut ours, start) = Ours::start(world)?;
    world.await_type5(all, &start)?;
    ours.await_ready()?;
    quiet_passes(world, &ours, report, size, runs)?;
    let mut memory = Memory::default();
    at_once(world, &ours, report, size, runs, &mut memory)?;
    restarts(world, &mut ours, report, size, runs, &mut memory)?;
    idle(&ours, report, size, runs, idle_seconds)?;
    memory.report(report, size);
    ours.remove()?;
    world.stop_host()?;
    world.await_no_type5()
}

/// Gives a reason for a pass that finds nothing to do: the kernel tells a change of a link of the router.
fn nudge(world: &World, count: usize) -> anyhow::Result<()> {
    for number in 0..count {
        let alias = format!("bench{number}");
        world.node()?.check(&["ip", "-n", "perouter", "link", "set", "toswitch", "alias", &alias])?;
        std::thread::sleep(BETWEEN);
    }
    // The status after the last pass.
    std::thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// Waits until all that came up has come to rest.
fn rest(ours: &Ours) -> anyhow::Result<()> {
    let mut last = ours.metric(PASSES_MADE)?;
    wait("three seconds without a pass", || {
        std::thread::sleep(Duration::from_secs(3));
        let made = ours.metric(PASSES_MADE).unwrap_or(f64::NAN);
        made - std::mem::replace(&mut last, made) < 1.0
    })
}

fn quiet_passes(world: &World, ours: &Ours, report: &mut Report, size: usize, runs: usize) -> anyhow::Result<()> {
    const QUIET: &str = "perouter_passes_total{result=\"quiet\"}";
    let (mut cpu, mut took) = (Series::default(), Series::default());
    rest(ours)?;
    let (lines, ops) = (ours.metric(LINES)?, ours.metric(OPS)?);
    for _ in 0..runs {
        let (passes, before, time) = (ours.metric(QUIET)?, cpu_ms(ours.pid())?, ours.metric(TIME)?);
        nudge(world, PASSES)?;
        let count = ours.metric(QUIET)? - passes;
        anyhow::ensure!(count >= 1.0, "no pass was made");
        cpu.push((cpu_ms(ours.pid())? - before) / count);
        took.push((ours.metric(TIME)? - time) * 1e3 / count);
    }
    let row = report.row(size, "pass with nothing to do, and the status after it: CPU", "ms", &cpu);
    row.budget_of_size(Budget::AtMost(10.0));
    report.row(size, "  time of the pass", "ms", &took);
    let (mut calls, mut writes, mut configured) = (Series::default(), Series::default(), Series::default());
    for _ in 0..runs {
        let passes = ours.metric(QUIET)?;
        let found = traced(ours.pid(), || nudge(world, PASSES))?;
        let count = ours.metric(QUIET)? - passes;
        anyhow::ensure!(count >= 1.0, "no pass was made");
        #[allow(clippy::cast_precision_loss, reason = "thousands")]
        for (series, value) in
            [(&mut calls, found.all), (&mut writes, found.netlink_writes), (&mut configured, found.configurations)]
        {
            series.push(value as f64 / count);
        }
    }
    report.row(size, "  system calls", "", &calls);
    report.row(size, "  netlink writes", "", &writes).budget(Budget::AtMost(0.0));
    report.row(size, "  times in FRR's configuration mode", "", &configured).budget(Budget::AtMost(0.0));
    let one = |value: f64| [value].into_iter().collect::<Series>();
    report
        .row(size, "  FRR lines, of all these passes", "", &one(ours.metric(LINES)? - lines))
        .budget(Budget::AtMost(0.0));
    report.row(size, "  kernel operations", "", &one(ours.metric(OPS)? - ops)).budget(Budget::AtMost(0.0));
    Ok(())
}

fn at_once(
    world: &mut World,
    ours: &Ours,
    report: &mut Report,
    size: usize,
    runs: usize,
    memory: &mut Memory,
) -> anyhow::Result<()> {
    let (all, changed) = (size * TYPE5_EACH, size.min(BULK));
    let (mut total, mut frr) = (Series::default(), Series::default());
    for _ in 0..runs {
        for (unwanted, wanted) in [(true, all - changed * TYPE5_EACH), (false, all)] {
            std::thread::sleep(Duration::from_secs(1));
            let start = Moment::now();
            for number in 1..=changed {
                world.write(number, unwanted)?;
            }
            total.push(world.await_type5(wanted, &start)?);
            frr.push(ours.pass_after(&start)?.phase("frr"));
        }
        memory.sample(ours)?;
    }
    report.row(size, &format!("{changed} L3VNIs edited at once until the leaf has them all"), "ms", &total);
    report.row(size, "  FRR apply", "ms", &frr);
    Ok(())
}

fn restarts(
    world: &mut World,
    ours: &mut Ours,
    report: &mut Report,
    size: usize,
    runs: usize,
    memory: &mut Memory,
) -> anyhow::Result<()> {
    let (mut ready, mut changes) = (Series::default(), Series::default());
    for _ in 0..runs {
        let start = ours.restart()?;
        ours.await_ready()?;
        ready.push(start.ms());
        let (found, all) = (world.leaf().type5(), size * TYPE5_EACH);
        anyhow::ensure!(found == all, "after a restart the leaf has {found} of {all} Type-5 routes");
        changes.push(ours.metric(LINES)? + ours.metric(OPS)?);
        memory.sample(ours)?;
    }
    report.row(size, "kill -9 of perouter, and start until all is known to be in place", "ms", &ready);
    report.row(size, "  operations and lines", "", &changes).budget(Budget::AtMost(0.0));
    Ok(())
}

fn processes(ours: &Ours) -> anyhow::Result<[(&'static str, Pid); 3]> {
    Ok([("perouter", ours.pid()), ("zebra", ours.daemon("zebra")?), ("bgpd", ours.daemon("bgpd")?)])
}

/// CPU time while nothing goes on. The periods begin a quarter of their length after each other.
fn idle(ours: &Ours, report: &mut Report, size: usize, runs: usize, seconds: u64) -> anyhow::Result<()> {
    const QUARTERS: u32 = 4;
    let period = Duration::from_secs(seconds);
    let pids = processes(ours)?;
    rest(ours)?;
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

/// What processes have in memory, of perouter and the daemons, after changes and after restarts.
#[derive(Default)]
struct Memory(BTreeMap<&'static str, Series>);

impl Memory {
    fn sample(&mut self, ours: &Ours) -> anyhow::Result<()> {
        // The last change is looked at once more.
        std::thread::sleep(Duration::from_secs(1));
        for (name, pid) in processes(ours)? {
            self.0.entry(name).or_default().push(rss_mb(pid)?);
        }
        Ok(())
    }

    fn report(&self, report: &mut Report, size: usize) {
        for (name, used) in &self.0 {
            let row = report.row(size, &format!("RSS of {name}"), "MB", used);
            if *name == "perouter" {
                row.budget_of_size(Budget::AtMost(30.0));
            }
        }
    }
}
