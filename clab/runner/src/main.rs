//! Command line of the lab runner.
//!
//! In: arguments. Out: output for people and programs; exit code 1 on an error, 2 on wrong usage, and that of the command
//! for `exec`. It must not implement anything itself.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
