//! Subcommands of the lab runner.
//!
//! In: parsed arguments. Out: calls of the library, with their results as text. It must not contain anything that a test
//! needs: that belongs to the library.

#![expect(clippy::doc_markdown, reason = "doc comments are the help texts here")]

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use perouter_lab::demo::{self, Console, Demo, Source, Subject};
use perouter_lab::host_side::HostSide;
use perouter_lab::lab::{self, Lab};
use perouter_lab::metallb::{self, Announcer};
use perouter_lab::topology::{LabName, Topology, read_topology};
use perouter_lab::{graph, inspect, web};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Runs containerlab topologies as network namespaces with real FRR, without Docker.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Labs run as root. Each node is a network namespace with its own root file system, FRR included.\n\n\
    Examples:\n  \
    perouter-lab deploy -t clab/metallb.clab.yml\n  \
    perouter-lab exec -t clab/metallb.clab.yml leafA -- vtysh -c 'show bgp l2vpn evpn summary'\n  \
    ip netns exec clab-kind-hostA_red ping 192.169.20.2\n  \
    perouter-lab destroy -t clab/metallb.clab.yml"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Deploy a topology: namespaces, links, FRR and the exec commands of its nodes
    #[command(after_help = "Example:\n  perouter-lab deploy -t clab/metallb.clab.yml --name mine")]
    Deploy(LabSelection),
    /// Destroy a lab with everything that belongs to it, also if it is incomplete or broken
    #[command(after_help = "Example:\n  perouter-lab destroy --name kind")]
    Destroy(LabSelection),
    /// List the nodes of a lab, or of all running labs
    #[command(after_help = "Example:\n  perouter-lab inspect --name kind -o json")]
    Inspect {
        #[command(flatten)]
        selection: LabSelection,
        /// Output format
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
        output: Format,
    },
    /// Run a command in a node, on this terminal
    #[command(after_help = "Example:\n  perouter-lab exec --name kind leafA -- vtysh -c 'show evpn vni'")]
    Exec {
        #[command(flatten)]
        selection: LabSelection,
        /// Name of the node, as in the topology
        node: String,
        /// Command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run a second FRR on a cluster node, with the BGP sessions that MetalLB and FRR-K8s would have there
    HostBgp {
        #[command(subcommand)]
        action: HostBgp,
    },
    /// Show what perouter does, step by step
    Demo {
        #[command(subcommand)]
        command: DemoCommand,
    },
    /// Serve a page that names the service, the node and the client
    #[command(hide = true)]
    Web {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        service: String,
        #[arg(long)]
        node: String,
    },
    /// Print a topology as a graph
    #[command(after_help = "Example:\n  perouter-lab graph -t clab/metallb.clab.yml -o mermaid")]
    Graph {
        #[command(flatten)]
        selection: LabSelection,
        /// Output format
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = graph::Style::Text)]
        output: graph::Style,
    },
}

#[derive(Debug, Subcommand)]
enum HostBgp {
    /// Print the FRR configuration of a node; no lab is needed
    #[command(after_help = "Example:\n  perouter-lab host-bgp render pe-kind-worker")]
    Render {
        #[command(flatten)]
        manifest: Manifest,
        /// Name of the node
        node: String,
    },
    /// Start FRR and the web servers of the services in a node, with all services announced
    #[command(after_help = "Example:\n  perouter-lab host-bgp start --name kind pe-kind-worker")]
    Start {
        #[command(flatten)]
        host: HostArguments,
    },
    /// Stop FRR in a node and remove the addresses of the services
    #[command(after_help = "Example:\n  perouter-lab host-bgp stop --name kind pe-kind-worker")]
    Stop {
        #[command(flatten)]
        host: HostArguments,
    },
    /// Announce a service from a node
    #[command(after_help = "Example:\n  perouter-lab host-bgp announce --name kind pe-kind-worker red")]
    Announce {
        #[command(flatten)]
        host: HostArguments,
        /// Name of the Service
        service: String,
    },
    /// Withdraw a service from a node; it still answers there
    #[command(after_help = "Example:\n  perouter-lab host-bgp withdraw --name kind pe-kind-worker red")]
    Withdraw {
        #[command(flatten)]
        host: HostArguments,
        /// Name of the Service
        service: String,
    },
}

/// The manifests of a cluster.
#[derive(Debug, Args)]
struct Manifest {
    /// Manifests of MetalLB and FRR-K8s, and Services
    #[arg(short, long, value_name = "FILE", default_value = "examples/metallb/metallb.yaml")]
    manifest: PathBuf,
}

/// A cluster node in a lab and its manifests.
#[derive(Debug, Args)]
struct HostArguments {
    #[command(flatten)]
    selection: LabSelection,
    #[command(flatten)]
    manifest: Manifest,
    /// Name of the node, as in the topology
    node: String,
}

#[derive(Debug, Subcommand)]
enum DemoCommand {
    /// A MetalLB service in the red VNI answers red hosts behind remote leaves, and no blue ones
    #[command(
        after_help = "Examples:\n  KEEP=1 perouter-lab demo metallb\n  perouter-lab demo metallb --source kubernetes"
    )]
    Metallb {
        /// Where perouter reads its objects from
        #[arg(long, value_enum, default_value_t = Source::Directory)]
        source: Source,
        /// Image whose containers are the Pods of perouter with `--source kubernetes`; processes if it cannot be run
        #[arg(long, value_name = "NAME")]
        image: Option<String>,
        #[command(flatten)]
        options: DemoOptions,
    },
    /// Pods of two nodes are on one segment, which a fabric host reaches, and one of them moves to the other node
    #[command(after_help = "Example:\n  KEEP=1 perouter-lab demo layer2")]
    Layer2 {
        #[command(flatten)]
        options: DemoOptions,
    },
    /// Destroy the lab of the demo
    #[command(after_help = "Example:\n  perouter-lab demo down")]
    Down {
        /// Name of the lab
        #[arg(long, default_value = "kind")]
        name: String,
    },
}

/// What all demos have.
#[derive(Debug, Args)]
struct DemoOptions {
    /// Keep the lab running at the end
    #[arg(long, env = "KEEP", value_parser = clap::builder::FalseyValueParser::new())]
    keep: bool,
    /// The program perouter [default: the one beside this program]
    #[arg(long, env = "PEROUTER", value_name = "PATH")]
    perouter: Option<PathBuf>,
    /// Root of the repository, with clab/ and examples/ in it
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Name of the lab, instead of the topology's
    #[arg(long)]
    name: Option<String>,
}

/// A lab, by its topology or by its name.
#[derive(Debug, Args)]
struct LabSelection {
    /// Topology file
    #[arg(short, long = "topo", value_name = "FILE")]
    topology: Option<PathBuf>,
    /// Name of the lab, instead of the topology's
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl LabSelection {
    fn topology(&self) -> anyhow::Result<Topology> {
        let file = self.topology.as_ref().context("no topology file; add -t FILE")?;
        let mut topology = read_topology(file)?;
        if let Some(name) = self.lab_name()? {
            topology.lab = name;
        }
        Ok(topology)
    }

    fn lab_name(&self) -> anyhow::Result<Option<LabName>> {
        self.name.as_deref().map(lab_name).transpose()
    }

    /// The lab's name; the topology file is read only if there is no name.
    fn lab(&self) -> anyhow::Result<LabName> {
        match (self.lab_name()?, &self.topology) {
            (Some(name), _) => Ok(name),
            (None, Some(_)) => Ok(self.topology()?.lab),
            (None, None) => anyhow::bail!("no lab; add -t FILE or --name NAME (`perouter-lab inspect` lists all labs)"),
        }
    }
}

fn lab_name(name: &str) -> anyhow::Result<LabName> {
    let rule = "use letters, digits, `-`, `_` and `.`, a letter or digit first";
    LabName::new(name).with_context(|| format!("`{name}` is not a valid name of a lab; {rule}"))
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        LabCommand::Deploy(selection) => deploy(&selection)?,
        LabCommand::Destroy(selection) => destroy(&selection.lab()?)?,
        LabCommand::Inspect { selection, output } => list(&selection, output)?,
        LabCommand::Exec { selection, node, command } => return exec(&selection, &node, &command),
        LabCommand::HostBgp { action } => host_bgp(&action)?,
        LabCommand::Demo { command } => return run_demo(command),
        LabCommand::Web { listen, service, node } => {
            web::serve(&TcpListener::bind(listen)?, &web::Page { service, node })?;
        }
        LabCommand::Graph { selection, output } => print(&graph::draw(&selection.topology()?, output))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn deploy(selection: &LabSelection) -> anyhow::Result<()> {
    let start = Instant::now();
    let topology = selection.topology()?;
    for warning in &topology.warnings {
        eprintln!("warning: {warning}");
    }
    let lab = Lab::deploy(&topology)?;
    print(&inspect::table(&inspect::nodes(&[lab.name().clone()])?))?;
    print(&format!("lab {} is deployed after {:.1} s\n", lab.name(), start.elapsed().as_secs_f64()))
}

fn destroy(name: &LabName) -> anyhow::Result<()> {
    print_destroyed(name, &lab::destroy(name)?)
}

fn print_destroyed(name: &LabName, destroyed: &lab::Destroyed) -> anyhow::Result<()> {
    match destroyed.nodes + destroyed.namespaces {
        0 => print(&format!("lab {name} is not deployed: nothing to destroy\n")),
        _ => print(&format!("lab {name} is destroyed: {} nodes\n", destroyed.nodes.max(destroyed.namespaces))),
    }
}

fn list(selection: &LabSelection, output: Format) -> anyhow::Result<()> {
    let labs = match selection {
        LabSelection { topology: None, name: None } => perouter_lab::state::labs(),
        _ => vec![selection.lab()?],
    };
    let nodes = inspect::nodes(&labs)?;
    if nodes.is_empty() {
        match labs.first() {
            None => eprintln!("no lab is deployed"),
            Some(lab) => anyhow::bail!("lab `{lab}` is not deployed (`perouter-lab inspect` lists all labs)"),
        }
    }
    match output {
        Format::Table => print(&inspect::table(&nodes)),
        Format::Json => print(&(serde_json::to_string_pretty(&nodes)? + "\n")),
    }
}

fn exec(selection: &LabSelection, node: &str, command: &[String]) -> anyhow::Result<ExitCode> {
    let status = Lab::open(&selection.lab()?)?.node(node)?.attach(command)?;
    // As in a shell: 128 and the number of the signal that terminated the command.
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let code = status.code().or(signal.map(|signal| 128 + signal)).and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

impl Manifest {
    fn read(&self) -> anyhow::Result<Announcer> {
        Ok(metallb::read_manifests(&self.manifest)?)
    }
}

impl HostArguments {
    fn side(&self) -> anyhow::Result<HostSide> {
        let announcer = self.manifest.read()?;
        Ok(HostSide::new(Lab::open(&self.selection.lab()?)?.node(&self.node)?, &announcer))
    }
}

fn host_bgp(action: &HostBgp) -> anyhow::Result<()> {
    match action {
        HostBgp::Render { manifest, node } => {
            let announcer = manifest.read()?.on(node, &metallb::Labels::new());
            print(&metallb::frr_conf(&announcer, node))?;
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

fn run_demo(command: DemoCommand) -> anyhow::Result<ExitCode> {
    let (subject, options) = match command {
        DemoCommand::Down { name } => {
            let name = lab_name(&name)?;
            print_destroyed(&name, &demo::down(&name)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        DemoCommand::Metallb { source, image, options } => (Subject::Metallb { source, image }, options),
        DemoCommand::Layer2 { options } => (Subject::Layer2, options),
    };
    let DemoOptions { keep, perouter, root, name } = options;
    let own_program = std::env::current_exe()?;
    let perouter = perouter.unwrap_or_else(|| own_program.with_file_name("perouter"));
    let root = std::fs::canonicalize(&root).with_context(|| format!("cannot access {}", root.display()))?;
    let name = name.as_deref().map(lab_name).transpose()?;
    let demo = Demo { root, perouter, own_program, subject, name, keep };
    let Err(error) = demo.run(&mut Console::new(demo.steps())) else { return Ok(ExitCode::SUCCESS) };
    let (logs, inspect, program) = (error.logs.display().to_string(), error.inspect.clone(), demo.own_command());
    eprintln!("\n{:#}", anyhow::Error::from(*error));
    eprintln!("  logs:    {logs}\n  inspect: {program} {inspect}\n  destroy: {}", demo.down_command());
    Ok(ExitCode::FAILURE)
}

/// Prints; a closed pipe (`| head`) is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
