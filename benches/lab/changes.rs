//! Cold start, and one L3VNI that comes, changes and goes, among N.

use perouter::types::VrfMode;

use crate::ours::{Ours, SOCKETS};
use crate::plain::{Configuration, Plain};
use crate::report::{Budget, L3VNIS, Report};
use crate::sample::{Series, repeat};
use crate::stolen::Stolen;
use crate::world::{Moment, TYPE5_EACH, World};

/// Times that one L3VNI comes, changes and goes in each run: bgpd works in turns of 50 ms, and a look at all of its state may
/// come in between.
const TIMES: usize = 3;

/// Everything that is measured in a run, over the runs.
#[derive(Default)]
struct Found {
    stolen: Series,
    cold: Series,
    cold_pass: Series,
    plain_cold: Series,
    plain_devices: Series,
    add: Change,
    edit: Change,
    delete: Change,
    reload_add: Series,
    reload_add_leaf: Series,
    reload_delete: Series,
    reload_delete_leaf: Series,
}

/// Where the time of a change goes, in this order.
const PARTS: [&str; 6] = ["notice", "observe, plan, diff", "kernel", "zebra sees it", "FRR apply", "FRR propagation"];
const FRR_APPLY: usize = 4;

/// A change of one file, in milliseconds.
#[derive(Default)]
struct Change {
    total: Series,
    parts: [Series; PARTS.len()],
}

impl Change {
    /// Makes one, and waits until the leaf has so many Type-5 routes.
    fn measure(
        &mut self,
        world: &mut World,
        ours: &Ours,
        wanted: usize,
        change: impl FnOnce(&World) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        settle();
        let (stolen, start) = (Stolen::from_now()?, Moment::now());
        change(world)?;
        let total = world.await_type5(wanted, &start)?;
        let stolen = stolen.share()?;
        let pass = ours.pass_after(&start)?;
        let think = pass.phase("observe") + pass.phase("plan") + pass.phase("diff");
        let (notice, kernel) = (pass.began_after(&start), pass.phase("kernel"));
        let (zebra, frr) = (pass.phase("zebra"), pass.phase("frr"));
        let propagation = (total - notice - think - kernel - zebra - frr).max(0.0);
        self.total.push_beside(stolen, total);
        for (series, part) in self.parts.iter_mut().zip([notice, think, kernel, zebra, frr, propagation]) {
            series.push_beside(stolen, part);
        }
        Ok(())
    }
}

/// Measures one size.
pub fn measure(world: &mut World, report: &mut Report, mode: VrfMode, size: usize, runs: usize) -> anyhow::Result<()> {
    world.start_host(size + 1, &[])?;
    let mut found = Found::default();
    let mut configurations = None;
    for run in 1..=runs {
        let stolen = Stolen::from_now()?;
        let taken = with_perouter(world, &mut found, size)?;
        let (small, large) = configurations.get_or_insert(taken);
        without_perouter(world, &mut found, mode, size, small, large)?;
        found.stolen.push(stolen.share()? * 100.0);
        eprintln!("N={size}: run {run} of {runs}");
    }
    world.stop_host()?;
    found.report(report, size);
    Ok(())
}

fn with_perouter(world: &mut World, found: &mut Found, size: usize) -> anyhow::Result<(Configuration, Configuration)> {
    world.write_objects(size)?;
    let (ours, start) = Ours::start(world)?;
    found.cold.push(world.await_type5(size * TYPE5_EACH, &start)?);
    ours.await_ready()?;
    found.cold_pass.push(ours.passes(&start)?.iter().map(|pass| pass.ms).sum());
    let small = Configuration::of(world.node()?, &mut ours.frr()?, SOCKETS)?;
    // One that comes and goes first: the files of the new VRF are in the caches of the machine for either side.
    let mut large = come_and_go(world, &ours, &mut Found::default(), size)?;
    repeat(found, TIMES, Found::undisturbed, |found, _| {
        large = come_and_go(world, &ours, found, size)?;
        Ok(())
    })?;
    ours.remove()?;
    world.await_no_type5()?;
    Ok((small, large))
}

/// Adds, edits and deletes one L3VNI; gives the configuration that there was with it.
fn come_and_go(world: &mut World, ours: &Ours, found: &mut Found, size: usize) -> anyhow::Result<Configuration> {
    let (all, one_more) = (size * TYPE5_EACH, (size + 1) * TYPE5_EACH);
    found.add.measure(world, ours, one_more, |world| world.write(size + 1, false))?;
    found.edit.measure(world, ours, all, |world| world.write(size + 1, true))?;
    world.write(size + 1, false)?;
    world.await_type5(one_more, &Moment::now())?;
    settle();
    let large = Configuration::of(world.node()?, &mut ours.frr()?, SOCKETS)?;
    found.delete.measure(world, ours, all, |world| world.remove(size + 1))?;
    Ok(large)
}

fn without_perouter(
    world: &mut World,
    found: &mut Found,
    mode: VrfMode,
    size: usize,
    small: &Configuration,
    large: &Configuration,
) -> anyhow::Result<()> {
    let (all, one_more) = (size * TYPE5_EACH, (size + 1) * TYPE5_EACH);
    settle();
    let (plain, built) = Plain::start(world, mode, small, size, 1)?;
    found.plain_cold.push(world.await_type5(all, &built.start)?);
    found.plain_devices.push(built.devices_ms);
    settle();
    let (start, took) = plain.reload(large)?;
    found.reload_add.push(took);
    found.reload_add_leaf.push(world.await_type5(one_more, &start)?);
    settle();
    let (start, took) = plain.reload(small)?;
    found.reload_delete.push(took);
    found.reload_delete_leaf.push(world.await_type5(all, &start)?);
    plain.remove()?;
    world.await_no_type5()
}

/// What the last change left to do is done.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(700));
}

impl Found {
    /// Changes that were not disturbed, of the kind that has fewest.
    fn undisturbed(&self) -> usize {
        let kinds = [&self.add, &self.edit, &self.delete];
        kinds.into_iter().map(|change| change.total.undisturbed()).min().unwrap_or_default()
    }

    fn report(&self, report: &mut Report, size: usize) {
        let row = report.row(size, "cold start until all Type-5 are at the leaf", "ms", &self.cold);
        row.against("ip -batch + FRR -f", &self.plain_cold);
        if size >= 100 {
            row.budget(Budget::Ratio(1.3));
        }
        report.row(size, "  of it passes", "ms", &self.cold_pass).against("ip -batch", &self.plain_devices);
        for (what, change) in [
            ("add one L3VNI: file written until its Type-5 are at the leaf", &self.add),
            ("edit one L3VNI: file written until the leaf has the change", &self.edit),
            ("delete one L3VNI: file removed until its Type-5 are gone", &self.delete),
        ] {
            report.row(size, what, "ms", &change.total).budget_of_size(Budget::AtMost(250.0));
            for (name, series) in PARTS.into_iter().zip(&change.parts) {
                report.row(size, &format!("  {name}"), "ms", series);
            }
        }
        let row = report.row(size, "FRR apply of one more L3VNI", "ms", &self.add.parts[FRR_APPLY]);
        row.against("frr-reload.py", &self.reload_add);
        if size == L3VNIS {
            row.budget(Budget::Ratio(1.0 / 50.0));
        }
        report.row(size, "  file until leaf", "ms", &self.add.total).against("frr-reload.py", &self.reload_add_leaf);
        let row = report.row(size, "FRR apply of one L3VNI less", "ms", &self.delete.parts[FRR_APPLY]);
        row.against("frr-reload.py", &self.reload_delete);
        let row = report.row(size, "  file until leaf", "ms", &self.delete.total);
        row.against("frr-reload.py", &self.reload_delete_leaf);
        report.row(size, "the machine's host took of its processors, of each run", "%", &self.stolen);
    }
}
