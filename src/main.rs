//! Logging and allocator; everything else is in the library.

use std::process::ExitCode;

use perouter::cli::{Cli, output};
use tracing_subscriber::EnvFilter;

/// Built with the settings in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // It changes the environment: there may be no other thread yet.
    Cli::complete().unwrap_or_else(run)
}

// More threads would wait for the same kernel lock (RTNL).
#[tokio::main(worker_threads = 2)]
async fn run() -> ExitCode {
    let filter = EnvFilter::try_from_env("PEROUTER_LOG").unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=error"));
    // The client logs the body of a reply that it cannot parse, which may be a Secret; `source` reports the failure.
    let filter = match "kube_client::client=off".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let json = std::env::var("PEROUTER_LOG_FORMAT").is_ok_and(|format| format == "json");
    let colored = !json && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || output::Log { colored });
    if json {
        builder.json().init();
    } else {
        builder.with_ansi(colored).init();
    }
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    cli.execute().await
}
