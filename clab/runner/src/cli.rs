//! Subcommands of the lab runner.
//!
//! In: parsed arguments. Out: calls of the library and their results as text. It must not hold what a test could want:
//! that belongs to the library.

#![expect(clippy::doc_markdown, reason = "doc comments are the help texts here")]

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use perouter_lab::cluster::HostSide;
use perouter_lab::demo::{self, Console, Demo, Source};
use perouter_lab::lab::{self, Lab};
use perouter_lab::topology::{LabName, Topology, read_topology};
use perouter_lab::{graph, inspect, metallb, web};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Runs containerlab topologies as network namespaces with real FRR, without Docker.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
    perouter-lab deploy -t clab/metallb.clab.yml\n  \
    perouter-lab exec -t clab/metallb.clab.yml leafA -- vtysh -c 'show bgp l2vpn evpn summary'\n  \
    ip netns exec clab-kind-hostA_red ping 192.169.20.2\n  \
    perouter-lab destroy -t clab/metallb.clab.yml"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring a topology up: namespaces, links, FRR, exec
    Deploy(Which),
    /// Take a lab away, whole, half deployed or broken; nothing is left of it
    Destroy(Which),
    /// Show the running labs and their nodes
    Inspect {
        #[command(flatten)]
        which: Which,
        /// How to show them
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Run a command in a node, with this terminal
    #[command(after_help = "Example:\n  perouter-lab exec --name kind leafA -- vtysh -c 'show evpn vni'")]
    Exec {
        #[command(flatten)]
        which: Which,
        /// The node's short name
        node: String,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        words: Vec<String>,
    },
    /// MetalLB with FRR-K8s on a cluster node, played by an FRR of its own
    HostBgp {
        #[command(subcommand)]
        action: HostBgp,
    },
    /// Show what the router is for
    Demo {
        #[command(subcommand)]
        which: DemoCommand,
    },
    /// Serve a page that says who answers whom
    #[command(hide = true)]
    Web {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        service: String,
        #[arg(long)]
        node: String,
    },
    /// Draw a topology
    Graph {
        #[command(flatten)]
        which: Which,
        /// What to draw for
        #[arg(short, long, value_enum, default_value_t = graph::Style::Text)]
        output: graph::Style,
    },
}

#[derive(Debug, Subcommand)]
enum HostBgp {
    /// Print the configuration that a node's FRR would have
    Render {
        #[command(flatten)]
        host: Host,
    },
    /// Start FRR and the web servers in a node; every service is announced
    Start {
        #[command(flatten)]
        host: Host,
    },
    /// End FRR in a node
    Stop {
        #[command(flatten)]
        host: Host,
    },
    /// Announce a service from a node
    Announce {
        #[command(flatten)]
        host: Host,
        /// The service
        service: String,
    },
    /// Take the announcement of a service back on a node
    Withdraw {
        #[command(flatten)]
        host: Host,
        /// The service
        service: String,
    },
}

/// A cluster node and what MetalLB would have it do.
#[derive(Debug, Args)]
struct Host {
    #[command(flatten)]
    which: Which,
    /// Manifests that a user would apply
    #[arg(short, long, value_name = "FILE", default_value = "examples/metallb/metallb.yaml")]
    manifest: PathBuf,
    /// The node's short name
    node: String,
}

#[derive(Debug, Subcommand)]
enum DemoCommand {
    /// A MetalLB service of the red VNI answers a red host behind a remote leaf, and not a blue one
    #[command(
        after_help = "Examples:\n  KEEP=1 perouter-lab demo metallb\n  perouter-lab demo metallb --source kubernetes"
    )]
    Metallb {
        /// Where perouter has its objects from
        #[arg(long, value_enum, default_value_t = Source::Directory)]
        source: Source,
        /// Leave the lab up
        #[arg(long, env = "KEEP", value_parser = clap::builder::FalseyValueParser::new())]
        keep: bool,
        /// The router's program; the one beside this program if not given
        #[arg(long, env = "PEROUTER", value_name = "PATH")]
        perouter: Option<PathBuf>,
        /// Folder with clab/ and examples/
        #[arg(long, default_value = ".")]
        root: PathBuf,
        /// Name of the lab, in place of the topology's
        #[arg(long)]
        name: Option<String>,
    },
    /// Take the demo's lab away
    Down {
        /// Name of the lab
        #[arg(long, default_value = "kind")]
        name: String,
    },
}

/// Which lab is meant.
#[derive(Debug, Args)]
struct Which {
    /// Topology file
    #[arg(short, long = "topo", value_name = "FILE")]
    topology: Option<PathBuf>,
    /// Name of the lab, in place of the file's
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Which {
    fn topology(&self) -> anyhow::Result<Topology> {
        let file = self.topology.as_ref().context("no topology file; name it with -t FILE")?;
        let mut topology = read_topology(file)?;
        if let Some(name) = self.lab_name()? {
            topology.lab = name;
        }
        Ok(topology)
    }

    fn lab_name(&self) -> anyhow::Result<Option<LabName>> {
        let rule = "is no name for a lab; use letters, digits, `-`, `_` and `.`";
        self.name.as_ref().map(|name| LabName::new(name).with_context(|| format!("`{name}` {rule}"))).transpose()
    }

    /// The lab's name; the topology file is read only when there is no name.
    fn lab(&self) -> anyhow::Result<LabName> {
        match (self.lab_name()?, &self.topology) {
            (Some(name), _) => Ok(name),
            (None, Some(_)) => Ok(self.topology()?.lab),
            (None, None) => anyhow::bail!("which lab? name it with -t FILE or --name NAME"),
        }
    }
}

/// Does what the arguments say.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Deploy(which) => deploy(&which)?,
        Command::Destroy(which) => destroy(&which.lab()?)?,
        Command::Inspect { which, output } => show(&which, output)?,
        Command::Exec { which, node, words } => return exec(&which, &node, &words),
        Command::HostBgp { action } => host_bgp(&action)?,
        Command::Demo { which } => return run_demo(which),
        Command::Web { listen, service, node } => {
            web::serve(&TcpListener::bind(listen)?, &web::Page { service, node })?;
        }
        Command::Graph { which, output } => print(&graph::draw(&which.topology()?, output))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn deploy(which: &Which) -> anyhow::Result<()> {
    let start = Instant::now();
    let topology = which.topology()?;
    for warning in &topology.warnings {
        eprintln!("warning: {warning}");
    }
    let lab = Lab::deploy(&topology)?;
    print(&inspect::table(&inspect::nodes(&[lab.name().clone()])?))?;
    print(&format!("lab {} is up after {:.1} s\n", lab.name(), start.elapsed().as_secs_f64()))
}

fn destroy(name: &LabName) -> anyhow::Result<()> {
    tell_gone(name, &lab::destroy(name)?)
}

fn tell_gone(name: &LabName, gone: &lab::Destroyed) -> anyhow::Result<()> {
    match gone.nodes + gone.namespaces {
        0 => print(&format!("lab {name} is not deployed: nothing to destroy\n")),
        _ => print(&format!("lab {name} is gone: {} nodes\n", gone.nodes.max(gone.namespaces))),
    }
}

fn show(which: &Which, output: Format) -> anyhow::Result<()> {
    let labs = match which {
        Which { topology: None, name: None } => perouter_lab::state::labs(),
        _ => vec![which.lab()?],
    };
    let nodes = inspect::nodes(&labs)?;
    match output {
        Format::Table => print(&inspect::table(&nodes)),
        Format::Json => print(&(serde_json::to_string_pretty(&nodes)? + "\n")),
    }
}

fn exec(which: &Which, node: &str, words: &[String]) -> anyhow::Result<ExitCode> {
    let status = Lab::open(&which.lab()?)?.node(node)?.attach(words)?;
    // As a shell has it: 128 and the signal's number when a signal ended the command.
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let code = status.code().or(signal.map(|signal| 128 + signal)).and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

impl Host {
    fn side(&self) -> anyhow::Result<HostSide> {
        let announcer = metallb::read_manifests(&self.manifest)?;
        Ok(HostSide::new(Lab::open(&self.which.lab()?)?.node(&self.node)?, &announcer))
    }
}

fn host_bgp(action: &HostBgp) -> anyhow::Result<()> {
    match action {
        HostBgp::Render { host } => {
            let announcer = metallb::read_manifests(&host.manifest)?.on(&host.node, &metallb::Labels::new());
            print(&metallb::frr_conf(&announcer, &host.node))?;
        }
        HostBgp::Start { host } => {
            let side = host.side()?;
            side.start()?;
            side.serve_from(&std::env::current_exe()?)?;
        }
        HostBgp::Stop { host } => host.side()?.stop()?,
        HostBgp::Announce { host, service } => host.side()?.announce(service)?,
        HostBgp::Withdraw { host, service } => host.side()?.withdraw(service)?,
    }
    Ok(())
}

fn run_demo(which: DemoCommand) -> anyhow::Result<ExitCode> {
    let name_of = |name: &str| LabName::new(name).with_context(|| format!("`{name}` is no name for a lab"));
    let (source, keep, perouter, root, name) = match which {
        DemoCommand::Down { name } => {
            let name = name_of(&name)?;
            tell_gone(&name, &demo::down(&name)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        DemoCommand::Metallb { source, keep, perouter, root, name } => (source, keep, perouter, root, name),
    };
    let own_program = std::env::current_exe()?;
    let perouter = perouter.unwrap_or_else(|| own_program.with_file_name("perouter"));
    let root = std::fs::canonicalize(&root).with_context(|| format!("no folder {}", root.display()))?;
    let name = name.as_deref().map(name_of).transpose()?;
    let demo = Demo { root, perouter, own_program, source, name, keep };
    let Err(error) = demo.run(&mut Console::new(demo.steps())) else { return Ok(ExitCode::SUCCESS) };
    let (logs, look, program) = (error.logs.display().to_string(), error.look.clone(), demo.own_program_shown());
    eprintln!("\n{:#}", anyhow::Error::from(*error));
    eprintln!("  logs: {logs}\n  look: {program} {look}\n  down: {}", demo.down_shown());
    Ok(ExitCode::FAILURE)
}

/// Prints; a reader that has gone away (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
