//! `perouter man`: the manual pages. In: a directory. Out: one page for the program and one for each subcommand.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command};

use super::exit_status::ExitStatus;

/// Arguments of `perouter man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  perouter man /usr/share/man/man1")]
pub struct ManArgs {
    /// The directory, which exists
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Writes the pages of `command`.
pub fn execute(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(args.dir.is_dir(), "{} is not a directory", args.dir.display());
    clap_mangen::generate_to(command, &args.dir)
        .with_context(|| format!("write manual pages to {}", args.dir.display()))?;
    Ok(ExitStatus::Ok.into())
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn each_subcommand_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        execute(&ManArgs { dir: dir.path().to_owned() }, Cli::command()).unwrap();
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(text("perouter.1").contains("perouter\\-sessions(1)"));
        for command in Cli::command().get_subcommands() {
            assert!(text(&format!("perouter-{}.1", command.get_name())).contains("perouter"), "{}", command.get_name());
        }
    }
}
