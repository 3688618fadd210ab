//! Many workloads on one segment of the node: how long until the leaf has a MAC/IP route of each, and what they cost while they are
//! silent; beside FRR alone, with the same devices.

use std::time::Duration;

use perouter::types::VrfMode;

use crate::baseline::{Baseline, Configuration, Devices};
use crate::crowd::Crowd;
use crate::perouter_run::{Perouter, SOCKETS};
use crate::process::{cpu_ms, percent, rss_mb};
use crate::report::{Budget, Report};
use crate::segment::Segment;
use crate::series::Series;
use crate::steady;
use crate::testbed::{TYPE5_EACH, Testbed, settle};

/// The segment: its subnet has room for all workloads.
const SEGMENT: Segment = Segment { number: 1, prefix_length: 16 };
/// The routes without workloads: those of an L3VNI, one Type-3, and the subnet of the segment.
const BASE: usize = TYPE5_EACH + 2;
/// Type-2 routes of a workload: of its MAC address, and of that with its IP address.
const TYPE2_EACH: usize = 2;
/// The kernel verifies each workload about every 30 s.
const CPU_PERIOD: Duration = Duration::from_secs(60);

/// Measured values for one number of workloads.
#[derive(Default)]
struct MacValues {
    learned: [Series; 2],
    /// While they are learned: perouter.
    learning_cpu: Series,
    /// Afterwards: perouter, zebra.
    cpu: [Series; 2],
    rss: [Series; 3],
    zebra_alone: Series,
}

/// Measures each number of workloads, with perouter and with FRR alone.
pub fn measure(
    testbed: &mut Testbed,
    report: &mut Report,
    mode: VrfMode,
    counts: &[usize],
    runs: usize,
) -> anyhow::Result<()> {
    report.set_setting(&format!("{mode}, MAC/IPs"), 1);
    testbed.start_host(1, &[])?;
    testbed.accept_type3(true)?;
    for count in counts {
        let mut found = MacValues::default();
        for run in 1..=runs {
            let configuration = with_perouter(testbed, report, &mut found, *count, run == runs)?;
            without_perouter(testbed, &mut found, mode, *count, &configuration)?;
            eprintln!("{count} MAC/IPs: run {run} of {runs}");
        }
        found.report(report, *count);
    }
    testbed.accept_type3(false)?;
    testbed.stop_host()?;
    report.set_setting(&mode.to_string(), 1);
    Ok(())
}

fn with_perouter(
    testbed: &mut Testbed,
    report: &mut Report,
    found: &mut MacValues,
    count: usize,
    is_last: bool,
) -> anyhow::Result<Configuration> {
    testbed.write_objects(1)?;
    testbed.write_segment(SEGMENT)?;
    let (perouter, start) = Perouter::start(testbed)?;
    testbed.await_segments(1, 1, 1, &start)?;
    perouter.await_ready()?;
    let configuration = Configuration::of(testbed.node()?, &mut perouter.frr()?, SOCKETS)?;
    let crowd = Crowd::attach(testbed.node()?, SEGMENT)?;
    settle();
    let before = cpu_ms(perouter.pid())?;
    let start = crowd.speak(count)?;
    found.learned[0].push(testbed.await_type5(BASE + TYPE2_EACH * count, &start)?);
    settle();
    found.learning_cpu.push(cpu_ms(perouter.pid())? - before);
    if is_last {
        steady::quiet_passes(testbed, &perouter, report, count, 1)?;
    }
    let pids = [perouter.pid(), perouter.daemon("zebra")?, perouter.daemon("bgpd")?];
    let before = [cpu_ms(pids[0])?, cpu_ms(pids[1])?];
    std::thread::sleep(CPU_PERIOD);
    for (at, series) in found.cpu.iter_mut().enumerate() {
        series.push(percent(cpu_ms(pids[at])? - before[at], CPU_PERIOD));
    }
    for (pid, series) in pids.into_iter().zip(&mut found.rss) {
        series.push(rss_mb(pid)?);
    }
    let routes = testbed.leaf().routes();
    anyhow::ensure!(
        routes == BASE + TYPE2_EACH * count,
        "{count} silent workloads, and {routes} routes are at the leaf"
    );
    perouter.remove()?;
    crowd.detach()?;
    testbed.await_no_type5()?;
    Ok(configuration)
}

fn without_perouter(
    testbed: &mut Testbed,
    found: &mut MacValues,
    mode: VrfMode,
    count: usize,
    configuration: &Configuration,
) -> anyhow::Result<()> {
    settle();
    let devices = Devices { l3vnis: 1, segments: vec![SEGMENT], ..Devices::default() };
    let (baseline, built) = Baseline::start(testbed, mode, configuration, devices)?;
    testbed.await_segments(1, 1, 1, &built.start)?;
    let crowd = Crowd::attach(testbed.node()?, SEGMENT)?;
    settle();
    let start = crowd.speak(count)?;
    found.learned[1].push(testbed.await_type5(BASE + TYPE2_EACH * count, &start)?);
    settle();
    found.zebra_alone.push(rss_mb(baseline.daemon("zebra")?)?);
    crowd.detach()?;
    baseline.remove()?;
    testbed.await_no_type5()?;
    Ok(())
}

impl MacValues {
    fn report(&self, report: &mut Report, count: usize) {
        let what = "workloads speak until all MAC/IP routes are at the leaf";
        let row = report.row(count, what, "ms", &self.learned[0]);
        row.against("FRR alone", &self.learned[1]).budget(Budget::Ratio(1.5));
        report.row(count, "  CPU of perouter", "ms", &self.learning_cpu);
        report.row(count, "they are silent: CPU of perouter", "%", &self.cpu[0]);
        report.row(count, "  CPU of zebra", "%", &self.cpu[1]);
        let [perouter, zebra, bgpd] = &self.rss;
        report.row(count, "  RSS of perouter", "MB", perouter).budget(Budget::AtMost(30.0));
        report.row(count, "  RSS of zebra", "MB", zebra).against("FRR alone", &self.zebra_alone);
        report.row(count, "  RSS of bgpd", "MB", bgpd);
    }
}
