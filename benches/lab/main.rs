//! `make bench`: perouter on a real router, compared with the same work without it. In: `N=1,10,100` (L3VNIs), `RUNS=5`,
//! `MACS=1000,10000`, `JSON=FILE`, `ONLY=changes,steady,segments,routes,macs`. Out: a table, JSON, and exit status 1 if a budget is missed.
//!
//! Each run of a size starts perouter, adds, edits and deletes one L3VNI, then does the same with `ip -batch`, FRR's
//! configuration files and frr-reload.py, so that both have the same conditions. Needs root, FRR, frr-pythontools, BIRD
//! and strace.

mod baseline;
mod changes;
mod crowd;
mod macs;
mod neighbors;
mod perouter_run;
mod process;
mod report;
mod routes;
mod segment;
mod segments;
mod series;
mod steady;
mod steal_time;
mod testbed;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use perouter::kernel::vrf_device;
use perouter::types::VrfMode;

use report::Report;
use testbed::Testbed;

/// Command-line options.
struct Options {
    sizes: Vec<usize>,
    routes: Vec<usize>,
    macs: Vec<usize>,
    runs: usize,
    idle_seconds: u64,
    json: Option<PathBuf>,
    only: Option<Vec<String>>,
    emulated: bool,
}

impl Options {
    /// Reads `NAME=VALUE` words; cargo adds `--bench`.
    fn read() -> anyhow::Result<Self> {
        let mut options = Self {
            sizes: vec![1, 10, 100, 400],
            routes: vec![1, 1000, 10_000, 100_000],
            macs: vec![1000, 10_000],
            runs: 5,
            idle_seconds: 60,
            json: None,
            only: None,
            emulated: false,
        };
        for word in std::env::args().skip(1).filter(|word| word != "--bench") {
            match word.split_once('=') {
                Some((_, "")) => {}
                Some(("N", sizes)) => options.sizes = list(sizes)?,
                Some(("ROUTES", routes)) => options.routes = list(routes)?,
                Some(("MACS", macs)) => options.macs = list(macs)?,
                Some(("RUNS", runs)) => options.runs = runs.parse().context("RUNS")?,
                Some(("IDLE", seconds)) => options.idle_seconds = seconds.parse().context("IDLE")?,
                Some(("JSON", file)) => options.json = Some(file.into()),
                Some(("ONLY", parts)) => options.only = Some(parts.split(',').map(str::to_owned).collect()),
                Some(("EMULATED", "yes")) => options.emulated = true,
                _ => bail!(
                    "`{word}`: write N=1,10,100 ROUTES=1,1000 MACS=1000 RUNS=5 IDLE=60 JSON=FILE \
                     ONLY=changes,steady,segments,routes,macs EMULATED=yes"
                ),
            }
        }
        Ok(options)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|parts| parts.iter().any(|name| name == part))
    }
}

/// Reads numbers separated by commas.
fn list(text: &str) -> anyhow::Result<Vec<usize>> {
    text.split(',').map(|word| word.parse().with_context(|| format!("number `{word}`"))).collect()
}

fn main() -> anyhow::Result<ExitCode> {
    if std::env::args().any(|word| word == "--list") {
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::read()?;
    let mode = if vrf_device::supported().context("VRF devices")? { VrfMode::Vrf } else { VrfMode::Netns };
    let mut report = Report::new(options.emulated);
    report.set_setting(&mode.to_string(), 1);
    let most = |numbers: &[usize]| numbers.iter().max().copied().unwrap_or_default();
    let _limits = neighbors::Limits::raise(2 * most(&options.sizes) + most(&options.macs) + 100)?;
    let mut testbed = Testbed::deploy("bench")?;
    let result = measure(&mut testbed, &mut report, mode, &options);
    drop(testbed);
    // Values that were measured before an error are printed, too.
    print!("{}", report.table());
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| path.display().to_string())?;
    }
    result?;
    if report.met() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("a budget is missed");
    Ok(ExitCode::FAILURE)
}

fn measure(testbed: &mut Testbed, report: &mut Report, mode: VrfMode, options: &Options) -> anyhow::Result<()> {
    for size in &options.sizes {
        if options.wants("changes") {
            changes::measure(testbed, report, mode, *size, options.runs)?;
        }
        if options.wants("steady") {
            steady::measure(testbed, report, *size, options.runs, options.idle_seconds)?;
        }
        if options.wants("segments") {
            segments::measure(testbed, report, mode, *size, options.runs, options.idle_seconds)?;
        }
    }
    if options.wants("routes") {
        routes::measure(testbed, report, mode, &options.routes, options.runs)?;
    }
    if options.wants("macs") {
        macs::measure(testbed, report, mode, &options.macs, options.runs)?;
    }
    Ok(())
}
