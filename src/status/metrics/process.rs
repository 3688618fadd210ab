//! The process itself, by the names that all exporters use. In: `/proc/self`, `/proc/stat`. Out: samples; none of what cannot be
//! read.

use std::fs;

use super::exposition::Exposition;
use super::table;

/// What the kernel shows of this process.
#[derive(Debug, Default, PartialEq)]
struct ProcessUsage {
    cpu_seconds: Option<f64>,
    resident: Option<u64>,
    virtual_memory: Option<u64>,
    start: Option<f64>,
    open_files: Option<usize>,
    max_files: Option<u64>,
}

/// Units of the times in `/proc/self/stat`: `USER_HZ`, 100 on every architecture of Linux but Alpha (`include/uapi/asm-generic/param.h`).
const TICKS: f64 = 100.0;

/// Adds the samples.
pub(super) fn render(text: &mut Exposition) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut usage = usage(&read("/proc/self/stat"), &read("/proc/self/status"), &read("/proc/stat"));
    // The directory that is read is open, too.
    usage.open_files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1));
    usage.max_files = max_files(&read("/proc/self/limits"));
    let ProcessUsage { cpu_seconds, resident, virtual_memory, start, open_files, max_files } = usage;
    if let Some(seconds) = cpu_seconds {
        text.value(table::PROCESS_CPU, seconds);
    }
    for (metric, value) in [(table::PROCESS_RESIDENT, resident), (table::PROCESS_VIRTUAL, virtual_memory)] {
        if let Some(bytes) = value {
            text.value(metric, bytes);
        }
    }
    if let Some(files) = open_files {
        text.value(table::PROCESS_FDS, files);
    }
    if let Some(files) = max_files {
        text.value(table::PROCESS_MAX_FDS, files);
    }
    if let Some(time) = start {
        text.value(table::PROCESS_START, time);
    }
}

/// `proc_pid_stat(5)`, `proc_pid_status(5)` and `proc_stat(5)`.
fn usage(stat: &str, status: &str, system: &str) -> ProcessUsage {
    // The name of the program may contain spaces.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    // The first of these is field 3.
    let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<f64>().ok());
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let boot = system.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    ProcessUsage {
        cpu_seconds: field(14).zip(field(15)).map(|(user, kernel)| (user + kernel) / TICKS),
        resident: kib("VmRSS:"),
        virtual_memory: kib("VmSize:"),
        start: boot.zip(field(22)).map(|(boot, ticks)| boot + ticks / TICKS),
        ..ProcessUsage::default()
    }
}

/// The soft limit in `/proc/self/limits`.
fn max_files(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_shows_is_read() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1000 9 9 9";
        let status = "Name:\tx\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let expected = ProcessUsage {
            cpu_seconds: Some(3.0),
            resident: Some(1 << 20),
            virtual_memory: Some(2 << 20),
            start: Some(1_700_000_010.0),
            ..ProcessUsage::default()
        };
        assert_eq!(usage(stat, status, "cpu 1\nbtime 1700000000\n"), expected);
        assert_eq!(usage("", "", ""), ProcessUsage::default());
        let limits = "Limit    Soft Limit   Hard Limit   Units\nMax open files            1024     524288    files\n";
        assert_eq!(max_files(limits), Some(1024));
    }

    #[test]
    fn this_process_has_all_of_it() {
        let mut text = Exposition::default();
        render(&mut text);
        let text = text.into_text();
        let names = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once(' ').unwrap().0);
        let expected = super::super::METRICS.iter().map(|info| info.name).filter(|name| name.starts_with("process_"));
        assert_eq!(names.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        let start: f64 = text.lines().last().unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!((0.0..86_400.0).contains(&(now - start)), "{start} {now}");
    }
}
