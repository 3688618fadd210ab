//! Logging, allocator and exit status; everything else is in the library.

use std::process::ExitCode;

use perouter::cli::Cli;
use tracing_subscriber::EnvFilter;

/// Built with the settings in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

// More threads would wait for the same kernel lock (RTNL).
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("PEROUTER_LOG").unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=error"));
    // The client logs the body of a reply that it cannot parse, which may be a Secret; `source` reports the failure.
    let filter = match "kube_client::client=off".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::env::var("PEROUTER_LOG_FORMAT").is_ok_and(|format| format == "json") {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.execute().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
