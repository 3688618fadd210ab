//! The command line: one file for each subcommand. In: arguments. Out: text on standard output, exit status.

mod archive;
mod background_checks;
mod bundle;
mod check;
mod check_nodes;
mod cleanup;
mod completions;
mod crds;
mod diagnostic;
mod exit_status;
mod facts;
mod finding_text;
mod frr_client;
mod index_option;
mod iproute;
mod lock;
mod macs;
mod man;
mod namespace_facts;
mod node_index;
mod notify;
mod options;
pub mod output;
mod plan;
mod plan_changes;
mod redaction;
mod routes;
mod run;
mod serve;
mod sessions;
mod show;
mod sources;
mod status;
mod stop_signal;
mod table;
mod tone;
mod trace;
mod trace_reader;
mod trace_text;
mod ui;
mod ui_nodes;
mod validate;

use std::ffi::OsString;
use std::process::ExitCode;

use self::exit_status::ExitStatus;
use clap::{CommandFactory, Parser, Subcommand};

/// EVPN provider-edge router for Kubernetes nodes.
///
/// Connects the VRFs of a node to an EVPN fabric with FRR, as objects in files or at the API server of Kubernetes describe
/// it. `perouter crds` prints their definitions.
#[derive(Debug, Parser)]
#[command(
    name = "perouter",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Environment: PEROUTER_LOG sets the log level (error, warn, info, debug), PEROUTER_LOG_FORMAT=json logs JSON.\n\n\
    Examples:\n  \
    perouter validate /etc/perouter              check the objects\n  \
    perouter plan --node-index 0                 show what would change on this node\n  \
    perouter run --node-index 0                  run the router\n  \
    perouter check                               show what is wrong on this node\n\n\
    Exit status: 0 nothing is wrong, 1 a problem was found, 2 wrong usage or an error; 3 `perouter plan` has changes."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run router and controller in one process
    #[command(
        after_help = "SIGTERM stops the process and leaves FRR and forwarding as they are: the next start adopts them.\n\
        `perouter cleanup` removes the router.\n\nExamples:\n  \
        perouter run --config-dir /etc/perouter --node-index 3\n  \
        perouter run --source kubernetes --node-name worker-1"
    )]
    Run(run::RunArgs),
    /// Run the router only: its network namespace and the FRR daemons
    #[command(
        after_help = "SIGTERM stops the process and leaves FRR and forwarding as they are: the next start adopts them.\n\n\
        Examples:\n  perouter router --http-address 127.0.0.1:9477"
    )]
    Router(options::RouterOptions),
    /// Run the controller only: configure a running router as the objects describe it
    #[command(
        after_help = "Waits for `perouter router` on the same node. SIGTERM stops the process and leaves FRR and\n\
        forwarding as they are.\n\nExamples:\n  \
        perouter controller --node-index 3\n  \
        perouter controller --source kubernetes --node-name worker-1"
    )]
    Controller(run::RunArgs),
    /// Print the steps of the next reconcile pass without applying them
    Plan(plan::PlanArgs),
    /// Validate objects in files and directories
    Validate(validate::ValidateArgs),
    /// Show the state of the router on this node
    Status(status::StatusArgs),
    /// Check everything on this node: what is wrong, what shows it, and what to do
    Check(check::CheckArgs),
    /// Show the BGP sessions, and why one is not established
    Sessions(sessions::SessionsArgs),
    /// Show the routes of a VRF: their origin, and whether kernel and fabric have them
    Routes(routes::RoutesArgs),
    /// Show the MAC addresses of an L2VNI, their IP addresses, and where they are
    Macs(macs::MacsArgs),
    /// Trace the path of an address through the router and show where it is incomplete
    Trace(trace::TraceArgs),
    /// Write an archive for support: status, sessions, routes, configurations, logs, the kernel. Without passwords
    Bundle(bundle::BundleArgs),
    /// Serve a page with what is wrong on this node, or on all nodes of a cluster, on loopback
    Ui(ui::UiArgs),
    /// Remove the router from this node: stop FRR, delete links and namespaces, return the NICs
    Cleanup(cleanup::CleanupArgs),
    /// Print the custom resource definitions
    Crds(crds::CrdsArgs),
    /// Write the manual pages
    Man(man::ManArgs),
    /// Print the completion script for a shell
    #[command(
        after_help = "The script runs perouter for the candidates: VRFs and L2VNIs are those of this node, for a user who may read\n\
        the status of the controller.\n\nExamples:\n  source <(perouter completions bash)"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Answers the completion script of a shell; `None` where this is another run.
    pub fn complete() -> Option<ExitCode> {
        match completions::answer(Self::command) {
            Ok(false) => None,
            Ok(true) => Some(ExitStatus::Ok.into()),
            Err(error) => {
                let _ = error.print();
                Some(ExitStatus::CannotKnow.into())
            }
        }
    }

    /// Reads arguments, the first of which is the name of the program. `Err`: the exit status, after help, version or an error
    /// was printed.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        Self::try_parse_from(args).map_err(|error| {
            // Where the output is closed there is nobody to report that to.
            let _ = error.print();
            if error.use_stderr() { ExitStatus::CannotKnow.into() } else { ExitStatus::Ok.into() }
        })
    }

    /// Runs the command and returns the exit status. An error was printed.
    pub async fn execute(self) -> ExitCode {
        self.run().await.unwrap_or_else(|error| {
            output::error_line(&format!("error: {error:#}"));
            ExitStatus::CannotKnow.into()
        })
    }

    async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(args) => run::both(args).await,
            Command::Router(args) => run::router(args).await,
            Command::Controller(args) => run::controller(args).await,
            Command::Plan(args) => plan::execute(args).await,
            Command::Validate(args) => validate::execute(&args).await,
            Command::Status(args) => status::execute(&args).await,
            Command::Check(args) => check::execute(&args).await,
            Command::Sessions(args) => sessions::execute(&args).await,
            Command::Routes(args) => routes::execute(&args).await,
            Command::Macs(args) => macs::execute(&args).await,
            Command::Trace(args) => trace::execute(&args).await,
            Command::Bundle(args) => bundle::execute(&args).await,
            Command::Ui(args) => ui::execute(&args).await,
            Command::Cleanup(args) => cleanup::execute(args).await,
            Command::Crds(args) => crds::execute(&args),
            Command::Man(args) => man::execute(&args, Self::command()),
            Command::Completions { shell } => {
                output::out(&completions::script(shell)?)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_help_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("perouter {}", command.get_name());
            assert!(after.contains(&example), "{}: {after}", command.get_name());
        }
    }
}
