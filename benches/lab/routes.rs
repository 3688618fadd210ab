//! Many host routes on one session: how long until the leaf has them, and the cost of the status in the meantime.

use std::time::Duration;

use perouter::types::VrfMode;

use crate::baseline::{Baseline, Configuration, Devices};
use crate::perouter_run::{Perouter, SOCKETS};
use crate::process::{cpu_ms, percent, rss_mb};
use crate::report::{Budget, Report};
use crate::series::{Series, repeat};
use crate::steal_time::StealTime;
use crate::testbed::{TYPE5_EACH, Testbed};

/// Number of L3VNIs.
const L3VNIS: usize = 10;
/// Their Type-5 routes.
const BASE: usize = L3VNIS * TYPE5_EACH;
const CPU_PERIOD: Duration = Duration::from_secs(20);
/// bgpd processes all received routes again five seconds after route maps were configured. Above 25000 routes it does
/// so in steps, and FRR 8.4 then ignores routes that are withdrawn in the meantime. So measuring starts later.
const ROUTE_MAP_DELAY: Duration = Duration::from_secs(8);

/// How often a number of routes is advertised and withdrawn in each run. Small numbers are repeated more often, as bgpd
/// holds its queues for 50 ms, which makes short times inexact.
fn times(count: usize) -> usize {
    if count > 10_000 { 2 } else { 5 }
}

/// Measured values for one number of routes.
#[derive(Default)]
struct RouteValues {
    announce: Series,
    withdraw: Series,
}

impl RouteValues {
    /// Advertises and withdraws the routes repeatedly; runs `between` once while the leaf has all of them.
    fn measure(
        &mut self,
        testbed: &mut Testbed,
        count: usize,
        mut between: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        repeat(self, times(count), Self::undisturbed, |found, time| {
            let (steal, start) = (StealTime::from_now()?, testbed.announce(count)?);
            let took = testbed.await_type5(BASE + count, &start)?;
            found.announce.push_with_steal(steal.share()?, took);
            if time == 1 {
                between()?;
            }
            let (steal, start) = (StealTime::from_now()?, testbed.withdraw(count)?);
            let took = testbed.await_type5(BASE, &start)?;
            found.withdraw.push_with_steal(steal.share()?, took);
            Ok(())
        })
    }

    fn undisturbed(&self) -> usize {
        self.announce.undisturbed().min(self.withdraw.undisturbed())
    }
}

/// Measures each number of routes, with perouter and with FRR alone.
pub fn measure(
    testbed: &mut Testbed,
    report: &mut Report,
    mode: VrfMode,
    counts: &[usize],
    runs: usize,
) -> anyhow::Result<()> {
    testbed.start_host(L3VNIS, counts)?;
    let mut found: Vec<[RouteValues; 2]> = counts.iter().map(|_| Default::default()).collect();
    let (mut perouter_rss, mut bgpd_rss, mut cpu) = (Series::default(), Series::default(), Series::default());
    for run in 1..=runs {
        testbed.write_objects(L3VNIS)?;
        let (perouter, start) = Perouter::start(testbed)?;
        testbed.await_type5(BASE, &start)?;
        perouter.await_ready()?;
        let configuration = Configuration::of(testbed.node()?, &mut perouter.frr()?, SOCKETS)?;
        std::thread::sleep(ROUTE_MAP_DELAY);
        for (count, [with, _]) in counts.iter().zip(&mut found) {
            with.measure(testbed, *count, || {
                if Some(count) == counts.last() {
                    let before = cpu_ms(perouter.pid())?;
                    std::thread::sleep(CPU_PERIOD);
                    cpu.push(percent(cpu_ms(perouter.pid())? - before, CPU_PERIOD));
                    perouter_rss.push(rss_mb(perouter.pid())?);
                    bgpd_rss.push(rss_mb(perouter.daemon("bgpd")?)?);
                }
                Ok(())
            })?;
        }
        perouter.remove()?;
        testbed.await_no_type5()?;
        let devices = Devices { l3vnis: L3VNIS, ..Devices::default() };
        let (baseline, built) = Baseline::start(testbed, mode, &configuration, devices)?;
        testbed.await_type5(BASE, &built.start)?;
        std::thread::sleep(ROUTE_MAP_DELAY);
        for (count, [_, without]) in counts.iter().zip(&mut found) {
            without.measure(testbed, *count, || Ok(()))?;
        }
        baseline.remove()?;
        testbed.await_no_type5()?;
        eprintln!("routes: run {run} of {runs}");
    }
    testbed.stop_host()?;
    for (count, [with, without]) in counts.iter().zip(&found) {
        let row = report.row(*count, "host advertises routes until all Type-5 are at the leaf", "ms", &with.announce);
        row.against("FRR alone", &without.announce).budget(Budget::Ratio(1.1));
        report
            .row(*count, "host withdraws them until none is left", "ms", &with.withdraw)
            .against("FRR alone", &without.withdraw);
    }
    if let Some(most) = counts.last() {
        report.row(*most, "status and metrics in the meantime: CPU of perouter", "%", &cpu).budget(Budget::AtMost(0.5));
        report.row(*most, "  RSS of perouter", "MB", &perouter_rss).budget(Budget::AtMost(30.0));
        report.row(*most, "  RSS of bgpd", "MB", &bgpd_rss);
    }
    Ok(())
}
