//! Many host routes on one session: how long until the leaf has them, and what the status costs meanwhile.

use std::time::Duration;

use perouter::types::VrfMode;

use crate::ours::{Ours, SOCKETS};
use crate::plain::{Configuration, Plain};
use crate::process::{cpu_ms, rss_mb};
use crate::report::{Budget, Report};
use crate::sample::Series;
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
    if count > 10_000 { 1 } else { 5 }
}

/// One sample of a count; `between` is done while the leaf has them all.
fn come_and_go(
    world: &mut World,
    count: usize,
    announce: &mut Series,
    withdraw: &mut Series,
    between: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let start = world.announce(count)?;
    announce.push(world.await_type5(BASE + count, &start)?);
    between()?;
    let start = world.withdraw(count)?;
    withdraw.push(world.await_type5(BASE, &start)?);
    Ok(())
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
    let mut found: Vec<[Series; 4]> = counts.iter().map(|_| Default::default()).collect();
    let (mut ours_rss, mut bgpd_rss, mut cpu) = (Series::default(), Series::default(), Series::default());
    for run in 1..=runs {
        world.write_objects(L3VNIS)?;
        let (ours, start) = Ours::start(world)?;
        world.await_type5(BASE, &start)?;
        ours.await_ready()?;
        let configuration = Configuration::of(world.node()?, &mut ours.frr()?, SOCKETS)?;
        std::thread::sleep(REVIEWED);
        for (count, [announce, withdraw, ..]) in counts.iter().zip(&mut found) {
            for time in 1..=times(*count) {
                let most = Some(count) == counts.last() && time == 1;
                come_and_go(world, *count, announce, withdraw, || {
                    if most {
                        let before = cpu_ms(ours.pid())?;
                        std::thread::sleep(WATCHED);
                        cpu.push((cpu_ms(ours.pid())? - before) / WATCHED.as_secs_f64() / 10.0);
                        ours_rss.push(rss_mb(ours.pid())?);
                        bgpd_rss.push(rss_mb(ours.daemon("bgpd")?)?);
                    }
                    Ok(())
                })?;
            }
        }
        ours.remove()?;
        world.await_no_type5()?;
        let (plain, built) = Plain::start(world, mode, &configuration, L3VNIS, 0)?;
        world.await_type5(BASE, &built.start)?;
        std::thread::sleep(REVIEWED);
        for (count, [_, _, announce, withdraw]) in counts.iter().zip(&mut found) {
            for _ in 0..times(*count) {
                come_and_go(world, *count, announce, withdraw, || Ok(()))?;
            }
        }
        plain.remove()?;
        world.await_no_type5()?;
        eprintln!("routes: run {run} of {runs}");
    }
    world.stop_host()?;
    for (count, [announce, withdraw, plain_announce, plain_withdraw]) in counts.iter().zip(&found) {
        let row = report.row(*count, "host announces routes until all Type-5 are at the leaf", "ms", announce);
        row.against("FRR alone", plain_announce).budget(Budget::Ratio(1.1));
        report.row(*count, "  and withdraws them", "ms", withdraw).against("FRR alone", plain_withdraw);
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
