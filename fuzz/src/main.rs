//! One target under libFuzzer, built with the feature `libfuzzer` by `hack/fuzz.sh`: `PEROUTER_FUZZ_TARGET` names it, its seeds are
//! written to `PEROUTER_FUZZ_SEEDS`, arguments are those of libFuzzer. Built without: runs the given files once,
//! `perouter-fuzz TARGET FILE...`.

#![cfg_attr(feature = "libfuzzer", no_main)]

#[cfg(feature = "libfuzzer")]
mod engine {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::OnceLock;

    use perouter_fuzz::{Target, mutate};

    /// The target, and its seeds, of which mutations take pieces.
    fn target() -> &'static (Target, Vec<Vec<u8>>) {
        static TARGET: OnceLock<(Target, Vec<Vec<u8>>)> = OnceLock::new();
        TARGET.get_or_init(|| {
            let name = std::env::var("PEROUTER_FUZZ_TARGET").unwrap_or_default();
            let target =
                Target::named(&name).unwrap_or_else(|| exit(&format!("PEROUTER_FUZZ_TARGET={name}: no target")));
            let seeds = target.seeds().unwrap_or_else(|error| exit(&format!("seeds of {name}: {error}")));
            (target, seeds)
        })
    }

    fn exit(message: &str) -> ! {
        eprintln!("{message}");
        std::process::exit(2)
    }

    fn write_seeds() {
        let Some(dir) = std::env::var_os("PEROUTER_FUZZ_SEEDS").map(PathBuf::from) else { return };
        let write = || {
            fs::create_dir_all(&dir)?;
            target().1.iter().enumerate().try_for_each(|(n, seed)| fs::write(dir.join(n.to_string()), seed))
        };
        write().unwrap_or_else(|error| exit(&format!("{}: {error}", dir.display())));
    }

    libfuzzer_sys::fuzz_target!(init: write_seeds(), |data: &[u8]| (target().0.run)(data));

    libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
        let (target, seeds) = target();
        let max_size = max_size.min(target.max_input);
        // libFuzzer's own mutations know which bytes the code compares.
        if seed.is_multiple_of(2) {
            return libfuzzer_sys::fuzzer_mutate(data, size.min(max_size), max_size);
        }
        let mut input = data.get(..size).unwrap_or_default().to_vec();
        mutate::mutate(target.format, &mut input, seeds, max_size.min(data.len()), seed.into());
        if let Some(place) = data.get_mut(..input.len()) {
            place.copy_from_slice(&input);
        }
        input.len()
    });
}

#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(target) = arguments.next().and_then(|name| perouter_fuzz::Target::named(&name)) else {
        eprintln!("perouter-fuzz TARGET FILE...: runs each file once");
        for target in perouter_fuzz::TARGETS {
            eprintln!("  {}", target.name);
        }
        return std::process::ExitCode::from(2);
    };
    for file in arguments {
        match std::fs::read(&file) {
            Ok(input) => (target.run)(&input),
            Err(error) => {
                eprintln!("{file}: {error}");
                return std::process::ExitCode::FAILURE;
            }
        }
    }
    std::process::ExitCode::SUCCESS
}
