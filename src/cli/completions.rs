//! Completion in shells. In: the script of a shell, or the words of a command line that it completes. Out: the script, or candidates. VRFs
//! and L2VNIs are those of the last status of the controller: FRR is not polled at each press of a key.

use std::path::PathBuf;

use clap::Command;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use crate::runtime::{self, Runtime};
use crate::status::{NodeStatus, publish};
use crate::types::Vni;

/// The scripts set it to the shell.
const VARIABLE: &str = "PEROUTER_COMPLETE";

/// The script for a shell: it runs `perouter` for the candidates.
///
/// # Errors
/// Where the engine has no script for the shell.
pub fn script(shell: Shell) -> anyhow::Result<String> {
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(&shell.to_string()) else { anyhow::bail!("no script for {shell}") };
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "perouter", "perouter", "perouter", &mut script)?;
    Ok(String::from_utf8(script)?)
}

/// Prints candidates where a script asks for them; `false` where none does.
///
/// # Errors
/// Where the script is of another version.
pub fn answer(factory: impl Fn() -> Command) -> Result<bool, clap::Error> {
    let directory = std::env::current_dir().ok();
    CompleteEnv::with_factory(factory).var(VARIABLE).try_complete(std::env::args_os(), directory.as_deref())
}

/// The VRFs of this node.
pub fn vrfs() -> ArgValueCandidates {
    ArgValueCandidates::new(l3vnis)
}

/// The VRFs of this node, and `default`: the sessions with the fabric.
pub fn vrfs_of_sessions() -> ArgValueCandidates {
    ArgValueCandidates::new(|| -> Vec<CompletionCandidate> {
        l3vnis().into_iter().chain([CompletionCandidate::new("default")]).collect()
    })
}

/// The L2VNIs of this node.
pub fn l2vnis() -> ArgValueCandidates {
    ArgValueCandidates::new(|| -> Vec<CompletionCandidate> {
        let status = status();
        status.iter().flat_map(NodeStatus::l2vnis).map(|(vni, _)| CompletionCandidate::new(vni.to_string())).collect()
    })
}

fn l3vnis() -> Vec<CompletionCandidate> {
    let status = status();
    let candidate = |vrf: &str, vni: Vni| CompletionCandidate::new(vrf).help(Some(format!("VNI {vni}").into()));
    status.iter().flat_map(NodeStatus::l3vnis).map(|(vni, state)| candidate(&state.vrf, vni)).collect()
}

/// The run directory that the words of a command line name, which may be incomplete.
fn run_dir(words: &[String]) -> Option<String> {
    words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--run-dir") {
        // bash makes a word of the equals sign.
        Some("") => words[at + 1..].iter().find(|word| *word != "=").cloned(),
        Some(rest) => rest.strip_prefix('=').map(ToOwned::to_owned),
        None => None,
    })
}

/// The last status in the run directory of the command line, if this user may read it.
fn status() -> Option<NodeStatus> {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let dir = run_dir(&words)
        .or_else(|| std::env::var("PEROUTER_RUN_DIR").ok())
        .map_or_else(|| runtime::DEFAULT_DIR.into(), PathBuf::from);
    let runtime = Runtime::new(&dir, runtime::DEFAULT_ROUTER_NETNS);
    publish::read(&runtime.status()).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::none("perouter routes r", None)]
    #[case::two_words("perouter routes --run-dir /a r", Some("/a"))]
    #[case::one_word("perouter routes --run-dir=/a r", Some("/a"))]
    #[case::three_words("perouter routes --run-dir = /a r", Some("/a"))]
    #[case::incomplete("perouter routes --run-dir", None)]
    #[case::another_option("perouter routes --run-directory=/a", None)]
    fn a_command_line_names_the_run_directory(#[case] line: &str, #[case] expected: Option<&str>) {
        let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        assert_eq!(run_dir(&words).as_deref(), expected);
    }
}
