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
///
/// Connects the VRFs of a node to an EVPN fabric with FRR, as Underlay and L3VNI objects describe it.
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
    perouter status                              show whether everything is in place"
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
    /// Validate a directory of objects
    Validate(validate::ValidateArgs),
    /// Show the state of the router on this node
    Status(status::StatusArgs),
    /// Show the BGP sessions, and why one is not established
    Sessions(sessions::SessionsArgs),
    /// Show the routes of a VRF: their origin, and whether kernel and fabric have them
    Routes(routes::RoutesArgs),
    /// Trace the path of an address through the router and show where it is incomplete
    Trace(trace::TraceArgs),
    /// Remove the router from this node: stop FRR, delete links and namespaces, return the NICs
    Cleanup(cleanup::CleanupArgs),
    /// Print the custom resource definitions
    Crds(crds::CrdsArgs),
    /// Print the completion script for a shell
    #[command(after_help = "Examples:\n  source <(perouter completions bash)")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Runs the command and returns the exit status.
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
