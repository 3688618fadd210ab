//! Many host routes on one session: how long until the leaf has them, and what the status costs meanwhile.

use std::time::Duration;

use perouter::types::VrfMode;

use crate::ours::{Ours, SOCKETS};
use crate::plain::{Configuration, Plain};
use crate::process::{cpu_ms, percent, rss_mb};
use crate::report::{Budget, Report};
use crate::sample::{Series, repeat};
use crate::stolen::Stolen;
use crate::world::{TYPE5_EACH, World};

/// L3VNIs beside.
const L3VNIS: usize = 10;
/// Their Type-5 routes.
const BASE: usize = L3VNIS * TYPE5_EACH;
const WATCHED: Duration = Duration::from_secs(20);
/// bgpd goes through all received routes again five seconds after route maps were made. With more than 25000 it does so bit
/// by bit, and FRR 8.4 then loses what is withdrawn meanwhile.
const REVIEWED: Duration = Duration::from_secs(8);

/// Times that a count is announced and withdrawn in each run, where that is over in a moment: bgpd works in turns of 50 ms,
/// so a time is one turn more or less.
fn times(count: usize) -> usize {
    if count > 10_000 { 2 } else { 5 }
}

/// Announces and withdraws a count.
#[derive(Default)]
struct Found {
    announce: Series,
    withdraw: Series,
}

impl Found {
    /// As often as it takes; `between` is done once while the leaf has them all.
    fn measure(
        &mut self,
        world: &mut World,
        count: usize,
        mut between: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        repeat(self, times(count), Self::undisturbed, |found, time| {
            let (stolen, start) = (Stolen::from_now()?, world.announce(count)?);
            let took = world.await_type5(BASE + count, &start)?;
            found.announce.push_beside(stolen.share()?, took);
            if time == 1 {
                between()?;
            }
            let (stolen, start) = (Stolen::from_now()?, world.withdraw(count)?);
            let took = world.await_type5(BASE, &start)?;
            found.withdraw.push_beside(stolen.share()?, took);
            Ok(())
        })
    }

    fn undisturbed(&self) -> usize {
        self.announce.undisturbed().min(self.withdraw.undisturbed())
    }
}

/// Announces and withdraws each count, with perouter and with FRR alone.
pub fn measure(
    world: &mut World,
    report: &mut Report,
    mode: VrfMode,
    counts: &[usize],
    runs: usize,
) -> anyhow::Result<()> {
    world.start_host(L3VNIS, counts)?;
    let mut found: Vec<[Found; 2]> = counts.iter().map(|_| Default::default()).collect();
    let (mut ours_rss, mut bgpd_rss, mut cpu) = (Series::default(), Series::default(), Series::default());
    for run in 1..=runs {
        world.write_objects(L3VNIS)?;
        let (ours, start) = Ours::start(world)?;
        world.await_type5(BASE, &start)?;
        ours.await_ready()?;
        let configuration = Configuration::of(world.node()?, &mut ours.frr()?, SOCKETS)?;
        std::thread::sleep(REVIEWED);
        for (count, [with, _]) in counts.iter().zip(&mut found) {
            with.measure(world, *count, || {
                if Some(count) == counts.last() {
                    let before = cpu_ms(ours.pid())?;
                    std::thread::sleep(WATCHED);
                    cpu.push(percent(cpu_ms(ours.pid())? - before, WATCHED));
                    ours_rss.push(rss_mb(ours.pid())?);
                    bgpd_rss.push(rss_mb(ours.daemon("bgpd")?)?);
                }
                Ok(())
            })?;
        }
        ours.remove()?;
        world.await_no_type5()?;
        let (plain, built) = Plain::start(world, mode, &configuration, L3VNIS, 0)?;
        world.await_type5(BASE, &built.start)?;
        std::thread::sleep(REVIEWED);
        for (count, [_, without]) in counts.iter().zip(&mut found) {
            without.measure(world, *count, || Ok(()))?;
        }
        plain.remove()?;
        world.await_no_type5()?;
        eprintln!("routes: run {run} of {runs}");
    }
    world.stop_host()?;
    for (count, [with, without]) in counts.iter().zip(&found) {
        let row = report.row(*count, "host announces routes until all Type-5 are at the leaf", "ms", &with.announce);
        row.against("FRR alone", &without.announce).budget(Budget::Ratio(1.1));
        report.row(*count, "  and withdraws them", "ms", &with.withdraw).against("FRR alone", &without.withdraw);
    }
    if let Some(most) = counts.last() {
        report
            .row(*most, "status and metrics with so many routes: CPU of perouter", "%", &cpu)
            .budget(Budget::AtMost(0.5));
        report.row(*most, "  RSS of perouter", "MB", &ours_rss).budget(Budget::AtMost(30.0));
        report.row(*most, "  RSS of bgpd", "MB", &bgpd_rss);
    }
    Ok(())
}
