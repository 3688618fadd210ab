//! The command line: one file for each subcommand. In: arguments. Out: text on standard output, exit status.

mod cleanup;
mod crds;
mod frr_client;
mod lock;
mod options;
mod plan;
mod routes;
mod run;
mod serve;
mod sessions;
mod sources;
mod status;
mod table;
mod trace;
mod validate;

use clap::{CommandFactory, Parser, Subcommand};

/// EVPN provider-edge router for Kubernetes nodes.
#[derive(Debug, Parser)]
#[command(name = "perouter", version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run router and controller in one process
    Run(run::RunArgs),
    /// Run the router alone: its network namespace and FRR's daemons
    Router(options::RouterOptions),
    /// Run the controller alone: apply the objects to a running router
    Controller(run::RunArgs),
    /// Print what a pass would do, without doing it
    Plan(plan::PlanArgs),
    /// Check a directory of objects
    Validate(validate::ValidateArgs),
    /// Show the router of this node
    Status(status::StatusArgs),
    /// Show the BGP sessions, and why one is not established
    Sessions(sessions::SessionsArgs),
    /// Show the routes of a VRF: from where, and whether kernel and fabric have them
    Routes(routes::RoutesArgs),
    /// Follow an address through the router, and tell where its way ends
    Trace(trace::TraceArgs),
    /// Remove the router from this node: FRR, links and namespaces go, the NICs come back
    Cleanup(cleanup::CleanupArgs),
    /// Print the custom resource definitions
    Crds(crds::CrdsArgs),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Carries the command out and tells the exit status.
    pub async fn execute(self) -> anyhow::Result<std::process::ExitCode> {
        match self.command {
            Command::Run(args) => run::both(args).await,
            Command::Router(args) => run::router(args).await,
            Command::Controller(args) => run::controller(args).await,
            Command::Plan(args) => plan::execute(args).await,
            Command::Validate(args) => validate::execute(&args),
            Command::Status(args) => status::execute(&args).await,
            Command::Sessions(args) => sessions::execute(&args).await,
            Command::Routes(args) => routes::execute(&args).await,
            Command::Trace(args) => trace::execute(&args).await,
            Command::Cleanup(args) => cleanup::execute(args).await,
            Command::Crds(args) => crds::execute(&args),
            Command::Completions { shell } => {
                clap_complete::generate(shell, &mut Self::command(), "perouter", &mut std::io::stdout());
                Ok(std::process::ExitCode::SUCCESS)
            }
        }
    }
}
