//! Cold start with N L3VNIs, and adding, editing and deleting one more.

use perouter::types::VrfMode;

use crate::baseline::{Baseline, Configuration, Devices};
use crate::perouter_run::{Perouter, SOCKETS};
use crate::report::{Budget, Report, VNIS};
use crate::series::{Series, repeat};
use crate::steal_time::StealTime;
use crate::testbed::{Moment, TYPE5_EACH, Testbed, settle};

/// How often one L3VNI is added, edited and deleted in each run: times vary, as bgpd holds its queues for 50 ms and may
/// be busy with printing its state.
const TIMES: usize = 3;

/// All measured values, of all runs.
#[derive(Default)]
struct ChangeValues {
    steal: Series,
    cold: Series,
    cold_pass: Series,
    baseline_cold: Series,
    baseline_devices: Series,
    add: Change,
    edit: Change,
    delete: Change,
    reload_add: Series,
    reload_add_leaf: Series,
    reload_delete: Series,
    reload_delete_leaf: Series,
}

/// The parts of the time of a change, in this order.
const PARTS: [&str; 6] = ["notice", "observe, plan, diff", "kernel", "zebra detection", "FRR apply", "FRR propagation"];
const FRR_APPLY: usize = 4;

/// Times of one kind of change of a file, in milliseconds.
#[derive(Default)]
struct Change {
    total: Series,
    parts: [Series; PARTS.len()],
}

impl Change {
    /// Makes a change, and waits until the leaf has the wanted number of Type-5 routes.
    fn measure(
        &mut self,
        testbed: &mut Testbed,
        perouter: &Perouter,
        wanted: usize,
        change: impl FnOnce(&Testbed) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        settle();
        let (steal, start) = (StealTime::from_now()?, Moment::now());
        change(testbed)?;
        let total = testbed.await_type5(wanted, &start)?;
        let steal = steal.share()?;
        let pass = perouter.pass_after(&start)?;
        let compute = pass.phase("observe") + pass.phase("plan") + pass.phase("diff");
        let (notice, kernel) = (pass.begin_after(&start), pass.phase("kernel"));
        let (zebra, frr) = (pass.phase("zebra"), pass.phase("frr"));
        let propagation = (total - notice - compute - kernel - zebra - frr).max(0.0);
        self.total.push_with_steal(steal, total);
        for (series, part) in self.parts.iter_mut().zip([notice, compute, kernel, zebra, frr, propagation]) {
            series.push_with_steal(steal, part);
        }
        Ok(())
    }
}

/// Measures one size.
pub fn measure(
    testbed: &mut Testbed,
    report: &mut Report,
    mode: VrfMode,
    size: usize,
    runs: usize,
) -> anyhow::Result<()> {
    testbed.start_host(size + 1, &[])?;
    let mut found = ChangeValues::default();
    let mut configurations = None;
    for run in 1..=runs {
        let steal = StealTime::from_now()?;
        let printed = with_perouter(testbed, &mut found, size)?;
        let (small, large) = configurations.get_or_insert(printed);
        without_perouter(testbed, &mut found, mode, size, small, large)?;
        found.steal.push(steal.share()? * 100.0);
        eprintln!("N={size}: run {run} of {runs}");
    }
    testbed.stop_host()?;
    found.report(report, size);
    Ok(())
}

fn with_perouter(
    testbed: &mut Testbed,
    found: &mut ChangeValues,
    size: usize,
) -> anyhow::Result<(Configuration, Configuration)> {
    testbed.write_objects(size)?;
    let (perouter, start) = Perouter::start(testbed)?;
    found.cold.push(testbed.await_type5(size * TYPE5_EACH, &start)?);
    perouter.await_ready()?;
    found.cold_pass.push(perouter.passes(&start)?.iter().map(|pass| pass.ms).sum());
    let small = Configuration::of(testbed.node()?, &mut perouter.frr()?, SOCKETS)?;
    // Once without measuring, so that the files of the new VRF are cached by the machine for both sides.
    let mut large = add_edit_delete(testbed, &perouter, &mut ChangeValues::default(), size)?;
    repeat(found, TIMES, ChangeValues::undisturbed, |found, _| {
        large = add_edit_delete(testbed, &perouter, found, size)?;
        Ok(())
    })?;
    perouter.remove()?;
    testbed.await_no_type5()?;
    Ok((small, large))
}

/// Adds, edits and deletes one L3VNI; returns the configuration with it.
fn add_edit_delete(
    testbed: &mut Testbed,
    perouter: &Perouter,
    found: &mut ChangeValues,
    size: usize,
) -> anyhow::Result<Configuration> {
    let (all, one_more) = (size * TYPE5_EACH, (size + 1) * TYPE5_EACH);
    found.add.measure(testbed, perouter, one_more, |testbed| testbed.write(size + 1, false))?;
    found.edit.measure(testbed, perouter, all, |testbed| testbed.write(size + 1, true))?;
    testbed.write(size + 1, false)?;
    testbed.await_type5(one_more, &Moment::now())?;
    settle();
    let large = Configuration::of(testbed.node()?, &mut perouter.frr()?, SOCKETS)?;
    found.delete.measure(testbed, perouter, all, |testbed| testbed.remove(size + 1))?;
    Ok(large)
}

fn without_perouter(
    testbed: &mut Testbed,
    found: &mut ChangeValues,
    mode: VrfMode,
    size: usize,
    small: &Configuration,
    large: &Configuration,
) -> anyhow::Result<()> {
    let (all, one_more) = (size * TYPE5_EACH, (size + 1) * TYPE5_EACH);
    settle();
    let (baseline, built) =
        Baseline::start(testbed, mode, small, Devices { l3vnis: size, later: 1, ..Devices::default() })?;
    found.baseline_cold.push(testbed.await_type5(all, &built.start)?);
    found.baseline_devices.push(built.devices_ms);
    settle();
    let (start, took) = baseline.reload(large)?;
    found.reload_add.push(took);
    found.reload_add_leaf.push(testbed.await_type5(one_more, &start)?);
    settle();
    let (start, took) = baseline.reload(small)?;
    found.reload_delete.push(took);
    found.reload_delete_leaf.push(testbed.await_type5(all, &start)?);
    baseline.remove()?;
    testbed.await_no_type5()
}

impl ChangeValues {
    /// Number of undisturbed changes of the kind that has the fewest.
    fn undisturbed(&self) -> usize {
        let kinds = [&self.add, &self.edit, &self.delete];
        kinds.into_iter().map(|change| change.total.undisturbed()).min().unwrap_or_default()
    }

    fn report(&self, report: &mut Report, size: usize) {
        let row = report.row(size, "cold start until all Type-5 are at the leaf", "ms", &self.cold);
        row.against("ip -batch + FRR -f", &self.baseline_cold);
        if size >= 100 {
            row.budget(Budget::Ratio(1.3));
        }
        report.row(size, "  thereof passes", "ms", &self.cold_pass).against("ip -batch", &self.baseline_devices);
        for (what, change) in [
            ("one L3VNI added: file written until its Type-5 are at the leaf", &self.add),
            ("one L3VNI changed: file written until the leaf has the change", &self.edit),
            ("one L3VNI removed: file removed until the leaf has none of its Type-5", &self.delete),
        ] {
            report.row(size, what, "ms", &change.total).budget_of_size(Budget::AtMost(250.0));
            for (name, series) in PARTS.into_iter().zip(&change.parts) {
                report.row(size, &format!("  {name}"), "ms", series);
            }
        }
        let row = report.row(size, "FRR apply of one L3VNI added", "ms", &self.add.parts[FRR_APPLY]);
        row.against("frr-reload.py", &self.reload_add);
        if size == VNIS {
            // bgpd alone takes half of what this allows.
            row.budget(Budget::Ratio(1.0 / 12.0));
        }
        report.row(size, "  until the leaf", "ms", &self.add.total).against("frr-reload.py", &self.reload_add_leaf);
        let row = report.row(size, "FRR apply of one L3VNI removed", "ms", &self.delete.parts[FRR_APPLY]);
        row.against("frr-reload.py", &self.reload_delete);
        let row = report.row(size, "  until the leaf", "ms", &self.delete.total);
        row.against("frr-reload.py", &self.reload_delete_leaf);
        report.row(size, "steal time of the runs", "%", &self.steal);
    }
}
