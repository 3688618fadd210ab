//! Cold start, and one L3VNI that comes, changes and goes, among N.

use perouter::types::VrfMode;

use crate::ours::{Ours, Pass, SOCKETS};
use crate::plain::{Configuration, Plain};
use crate::report::{Budget, Report};
use crate::sample::Series;
use crate::world::{Moment, TYPE5_EACH, World};

/// Times that one L3VNI comes, changes and goes in each run: bgpd works in turns of 50 ms, and a look at all of its state may
/// come in between.
const TIMES: usize = 3;

/// Everything that is measured in a run, over the runs.
#[derive(Default)]
struct Found {
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

/// A change of one file, and where its time went.
#[derive(Default)]
struct Change {
    total: Series,
    notice: Series,
    think: Series,
    kernel: Series,
    zebra: Series,
    frr: Series,
    propagation: Series,
}

impl Change {
    fn push(&mut self, start: &Moment, total: f64, pass: &Pass) {
        let think = pass.phase("observe") + pass.phase("plan") + pass.phase("diff");
        let parts = [think, pass.phase("kernel"), pass.phase("zebra"), pass.phase("frr")];
        let notice = pass.began_after(start);
        self.total.push(total);
        self.notice.push(notice);
        for (series, value) in
            [&mut self.think, &mut self.kernel, &mut self.zebra, &mut self.frr].into_iter().zip(parts)
        {
            series.push(value);
        }
        self.propagation.push((total - notice - parts.iter().sum::<f64>()).max(0.0));
    }
}

/// Measures one size.
pub fn measure(world: &mut World, report: &mut Report, mode: VrfMode, size: usize, runs: usize) -> anyhow::Result<()> {
    world.start_host(size + 1, &[])?;
    let mut found = Found::default();
    let mut configurations = None;
    for run in 1..=runs {
        let taken = with_perouter(world, &mut found, size)?;
        let (small, large) = configurations.get_or_insert(taken);
        without_perouter(world, &mut found, mode, size, small, large)?;
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
    come_and_go(world, &ours, &mut Found::default(), size)?;
    let mut large = come_and_go(world, &ours, found, size)?;
    for _ in 1..TIMES {
        large = come_and_go(world, &ours, found, size)?;
    }
    ours.remove()?;
    world.await_no_type5()?;
    Ok((small, large))
}

/// Adds, edits and deletes one L3VNI; gives the configuration that there was with it.
fn come_and_go(world: &mut World, ours: &Ours, found: &mut Found, size: usize) -> anyhow::Result<Configuration> {
    let (all, one_more) = (size * TYPE5_EACH, (size + 1) * TYPE5_EACH);
    settle();
    let start = Moment::now();
    world.write(size + 1, false)?;
    let total = world.await_type5(one_more, &start)?;
    found.add.push(&start, total, &ours.pass_after(&start)?);
    settle();
    let start = Moment::now();
    world.write(size + 1, true)?;
    let total = world.await_type5(all, &start)?;
    found.edit.push(&start, total, &ours.pass_after(&start)?);
    world.write(size + 1, false)?;
    world.await_type5(one_more, &Moment::now())?;
    settle();
    let large = Configuration::of(world.node()?, &mut ours.frr()?, SOCKETS)?;
    let start = Moment::now();
    world.remove(size + 1)?;
    let total = world.await_type5(all, &start)?;
    found.delete.push(&start, total, &ours.pass_after(&start)?);
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
            let row = report.row(size, what, "ms", &change.total);
            row.budget(Budget::AtMost(250.0));
            for (part, series) in [
                ("notice", &change.notice),
                ("observe, plan, diff", &change.think),
                ("kernel", &change.kernel),
                ("zebra sees it", &change.zebra),
                ("FRR apply", &change.frr),
                ("FRR propagation", &change.propagation),
            ] {
                report.row(size, &format!("  {part}"), "ms", series);
            }
        }
        let row = report.row(size, "FRR apply of one more L3VNI", "ms", &self.add.frr);
        row.against("frr-reload.py", &self.reload_add);
        if size >= 400 {
            row.budget(Budget::Ratio(1.0 / 50.0));
        }
        report.row(size, "  file until leaf", "ms", &self.add.total).against("frr-reload.py", &self.reload_add_leaf);
        let row = report.row(size, "FRR apply of one L3VNI less", "ms", &self.delete.frr);
        row.against("frr-reload.py", &self.reload_delete);
        let row = report.row(size, "  file until leaf", "ms", &self.delete.total);
        row.against("frr-reload.py", &self.reload_delete_leaf);
    }
}
