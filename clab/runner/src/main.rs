//! Command line of the lab runner.
//!
//! In: arguments. Out: the library's doings, told to a person; exit code 1 on an error, 2 on wrong usage, and that of the
//! command for `exec`. It must not do anything by itself.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("perouter-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
