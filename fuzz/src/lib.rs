//! Fuzz targets: one file in `targets` for each kind of input that perouter does not make itself. In: bytes. Out: nothing, or a
//! panic where perouter panics or an invariant does not hold.
//!
//! `hack/fuzz.sh` builds the targets with coverage feedback and runs them under libFuzzer (`src/main.rs`). The tests below need
//! neither: they run every input of the corpus, all inputs that were once wrong, and mutations of both.

pub mod mutate;
mod targets;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mutate::Format;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What its inputs look like.
    pub format: Format,
    /// Inputs are not longer, in bytes.
    pub max_input: usize,
    /// Runs one input. It panics if there is a bug.
    pub run: fn(&[u8]),
    /// Valid inputs besides those of its directory in `corpus`.
    pub more_seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 10] = [
    targets::yaml::TARGET,
    targets::pass::TARGET,
    targets::secret::TARGET,
    targets::show::TARGET,
    targets::running_config::TARGET,
    targets::vty::TARGET,
    targets::log::TARGET,
    targets::netlink::TARGET,
    targets::nftables::TARGET,
    targets::state::TARGET,
];

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// Valid inputs, recorded or from the tests of perouter.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn seeds(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut seeds = self.regressions()?;
        seeds.extend(files(&crate_dir().join("corpus").join(self.name))?);
        seeds.extend((self.more_seeds)());
        Ok(seeds)
    }

    /// Inputs that were once wrong.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn regressions(&self) -> io::Result<Vec<Vec<u8>>> {
        files(&crate_dir().join("regressions").join(self.name))
    }
}

fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The contents of the files in a directory, by name; none where there is no directory.
fn files(dir: &Path) -> io::Result<Vec<Vec<u8>>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.into_iter().map(fs::read).collect()
}

/// The contents of the files of this name in the directories below `dir`, a path in the repository.
fn files_named(dir: &str, name: &str) -> Vec<Vec<u8>> {
    let mut cases: Vec<_> = fs::read_dir(crate_dir().join("..").join(dir))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join(name)))
        .collect();
    cases.sort();
    cases.into_iter().filter_map(|path| fs::read(path).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use std::panic::catch_unwind;
    use std::time::{Duration, Instant};

    use super::*;

    /// Runs an input and says which one it was if it fails.
    fn run(target: &Target, input: &[u8]) {
        if catch_unwind(|| (target.run)(input)).is_err() {
            let path = std::env::temp_dir().join(format!("perouter-fuzz-{}", target.name));
            fs::write(&path, input).unwrap();
            panic!("target {}: the input is in {}", target.name, path.display());
        }
    }

    #[test]
    fn every_target_has_a_directory_of_recorded_inputs() {
        let mut names: Vec<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
        names.sort();
        let entries = fs::read_dir(crate_dir().join("corpus")).unwrap();
        let mut dirs: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        dirs.sort();
        assert_eq!(names, dirs);
    }

    /// A longer one would be cut, and be no output of FRR any more.
    #[test]
    fn no_input_is_longer_than_its_target_allows() {
        let longest = |target: &Target| target.seeds().unwrap().iter().map(Vec::len).max().unwrap();
        let sizes = TARGETS.iter().map(|target| (target.name, longest(target), target.max_input));
        let too_long: Vec<_> = sizes.filter(|(_, longest, most)| longest > most).collect();
        assert!(too_long.is_empty(), "{too_long:?}");
    }

    #[test]
    fn every_recorded_input_is_processed() {
        for target in &TARGETS {
            let seeds = target.seeds().unwrap();
            assert!(!seeds.is_empty(), "{} has no seeds", target.name);
            for input in &seeds {
                run(target, input);
            }
        }
    }

    /// The same inputs each time; `PEROUTER_FUZZ_SECONDS` runs more, the time divided between the targets.
    #[test]
    fn mutated_inputs_are_processed() {
        let seconds = std::env::var("PEROUTER_FUZZ_SECONDS").ok().map(|text| text.parse::<u64>().unwrap());
        let time = Duration::from_secs(seconds.unwrap_or_default()) / u32::try_from(TARGETS.len()).unwrap();
        for target in &TARGETS {
            let seeds = target.seeds().unwrap();
            let (begin, mut count) = (Instant::now(), 0);
            while begin.elapsed() < time || seconds.is_none() && count < 30 {
                let mut input = seeds[usize::try_from(count).unwrap() % seeds.len()].clone();
                mutate::mutate(target.format, &mut input, &seeds, target.max_input, count);
                run(target, &input);
                count += 1;
            }
            println!("{}: {count} inputs in {:.1} s", target.name, begin.elapsed().as_secs_f32());
        }
    }
}
