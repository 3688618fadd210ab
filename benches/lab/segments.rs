//! N L2VNIs beside as many L3VNIs: cold start, one L2VNI added and removed, passes with nothing to do, memory; beside FRR alone, which
//! gets the devices of the L2VNI that is added, without its subnet.

use perouter::types::VrfMode;

use crate::baseline::{Baseline, Configuration, Devices};
use crate::perouter_run::{Perouter, SOCKETS};
use crate::report::{Budget, Report};
use crate::segment::Segment;
use crate::series::{Series, repeat};
use crate::steady;
use crate::steal_time::StealTime;
use crate::testbed::{Moment, Testbed, settle};

/// How often one L2VNI is added and removed in each run.
const TIMES: usize = 3;

/// Measured values, of perouter and of FRR alone.
#[derive(Default)]
struct SegmentValues {
    cold: [Series; 2],
    add: [Series; 2],
    remove: [Series; 2],
    pass: Series,
    cleanup: Series,
}

impl SegmentValues {
    fn undisturbed(&self, side: usize) -> usize {
        self.add[side].undisturbed().min(self.remove[side].undisturbed())
    }
}

/// Measures one size.
pub fn measure(
    testbed: &mut Testbed,
    report: &mut Report,
    mode: VrfMode,
    size: usize,
    runs: usize,
    idle_seconds: u64,
) -> anyhow::Result<()> {
    report.set_setting(&format!("{mode}, L2VNIs"), 2);
    // The L2VNI that is added is in the routing domain of an L3VNI that is there.
    testbed.start_host(size + 1, &[])?;
    testbed.accept_type3(true)?;
    let mut found = SegmentValues::default();
    let mut memory = steady::Memory::default();
    for run in 1..=runs {
        testbed.write_objects(size + 1)?;
        for number in 1..=size {
            testbed.write_segment(Segment::new(number))?;
        }
        let (perouter, start) = Perouter::start(testbed)?;
        found.cold[0].push(testbed.await_segments(size + 1, size, size, &start)?);
        perouter.await_ready()?;
        repeat(
            &mut found,
            TIMES,
            |found| found.undisturbed(0),
            |found, _| add_and_remove(testbed, &perouter, found, size),
        )?;
        memory.sample(&perouter)?;
        if run == runs {
            steady::quiet_passes(testbed, &perouter, report, size, runs)?;
            steady::idle(&perouter, report, size, runs, idle_seconds)?;
        }
        let configuration = Configuration::of(testbed.node()?, &mut perouter.frr()?, SOCKETS)?;
        found.cleanup.push(perouter.remove()?);
        testbed.await_no_type5()?;
        without_perouter(testbed, &mut found, mode, size, &configuration)?;
        eprintln!("N={size} L2VNIs: run {run} of {runs}");
    }
    testbed.stop_host()?;
    testbed.accept_type3(false)?;
    found.report(report, size);
    memory.report(report, size);
    report.set_setting(&mode.to_string(), 1);
    Ok(())
}

fn add_and_remove(
    testbed: &mut Testbed,
    perouter: &Perouter,
    found: &mut SegmentValues,
    size: usize,
) -> anyhow::Result<()> {
    let segment = Segment::new(size + 1);
    settle();
    let (steal, start) = (StealTime::from_now()?, Moment::now());
    testbed.write_segment(segment)?;
    let took = testbed.await_segments(size + 1, size + 1, size + 1, &start)?;
    found.add[0].push_with_steal(steal.share()?, took);
    found.pass.push(perouter.pass_after(&start)?.ms);
    settle();
    let (steal, start) = (StealTime::from_now()?, Moment::now());
    testbed.remove_segment(segment)?;
    let took = testbed.await_segments(size + 1, size, size, &start)?;
    found.remove[0].push_with_steal(steal.share()?, took);
    Ok(())
}

fn without_perouter(
    testbed: &mut Testbed,
    found: &mut SegmentValues,
    mode: VrfMode,
    size: usize,
    configuration: &Configuration,
) -> anyhow::Result<()> {
    settle();
    let segments = (1..=size).map(Segment::new).collect();
    let devices = Devices { l3vnis: size + 1, later: 0, segments };
    let (mut baseline, built) = Baseline::start(testbed, mode, configuration, devices)?;
    found.cold[1].push(testbed.await_segments(size + 1, size, size, &built.start)?);
    let segment = Segment::new(size + 1);
    repeat(
        found,
        TIMES,
        |found| found.undisturbed(1),
        |found, _| {
            settle();
            let (steal, start) = (StealTime::from_now()?, baseline.add_segment(segment)?);
            // Its subnet is not in the configuration.
            let took = testbed.await_segments(size + 1, size + 1, size, &start)?;
            found.add[1].push_with_steal(steal.share()?, took);
            settle();
            let (steal, start) = (StealTime::from_now()?, baseline.remove_segment(segment)?);
            let took = testbed.await_segments(size + 1, size, size, &start)?;
            found.remove[1].push_with_steal(steal.share()?, took);
            Ok(())
        },
    )?;
    baseline.remove()?;
    testbed.await_no_type5()?;
    Ok(())
}

impl SegmentValues {
    fn report(&self, report: &mut Report, size: usize) {
        const BATCH: &str = "ip -batch + FRR";
        let row = report.row(size, "cold start until all Type-5 and Type-3 are at the leaf", "ms", &self.cold[0]);
        row.against("ip -batch + FRR -f", &self.cold[1]);
        if size >= 100 {
            row.budget_of_size(Budget::Ratio(1.3));
        }
        let row = report.row(size, "one L2VNI added: file written until its Type-3 is at the leaf", "ms", &self.add[0]);
        row.against(BATCH, &self.add[1]).budget_of_size(Budget::AtMost(250.0));
        report.row(size, "  pass", "ms", &self.pass);
        let row =
            report.row(size, "one L2VNI removed: file removed until the leaf has none of it", "ms", &self.remove[0]);
        row.against(BATCH, &self.remove[1]).budget_of_size(Budget::AtMost(250.0));
        report.row(size, "`perouter cleanup`: FRR is stopped, nothing is left of the router", "ms", &self.cleanup);
    }
}
