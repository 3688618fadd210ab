//! Options that subcommands share.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::index_option::IndexOptions;
use crate::frr::daemons;
use crate::kernel::vrf_device;
use crate::runtime::{self, Runtime};
use crate::snapshot::NodeIdentity;
use crate::source::kube::IndexChoice;
use crate::types::VrfMode;

/// Where objects are read from and for which node.
#[derive(Debug, Clone, Args)]
pub struct SourceOptions {
    /// Directory of the objects (YAML or JSON)
    #[arg(long, env = "PEROUTER_CONFIG_DIR", value_name = "DIR", default_value = "/etc/perouter")]
    pub config_dir: PathBuf,
    /// Directory of the passwords that objects refer to: `passwordSecret: {name: N, key: K}` is the file
    /// `DIR/N/K` [default: `secrets` in the config directory]
    #[arg(long, env = "PEROUTER_SECRETS_DIR", value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Name of this node. With an API server: that of its Node, which must be set [default: host name]
    #[arg(long, env = "PEROUTER_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    #[command(flatten)]
    pub index: IndexOptions,
    /// Label of this node, for node selectors; can be repeated
    #[arg(long = "node-label", env = "PEROUTER_NODE_LABELS", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    pub node_labels: Vec<(String, String)>,
}

/// Reads `KEY=VALUE`.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "expected KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

impl SourceOptions {
    /// The identity of the node, where there is no API server that may have its index.
    pub fn node(&self, index: &IndexChoice) -> anyhow::Result<NodeIdentity> {
        let index = index.fixed().context(
            "no node index: set --node-index, --node-index-from-interface, or --node-index-from-label with --node-label",
        )?;
        let name = match self.named() {
            Some(name) => name,
            None => nix::unistd::gethostname()
                .context("host name")?
                .into_string()
                .map_err(|raw| anyhow::anyhow!("host name {} is not UTF-8: set --node-name", raw.display()))?,
        };
        Ok(self.identity(name, index))
    }

    /// The node of this name and index.
    pub fn identity(&self, name: String, index: u32) -> NodeIdentity {
        NodeIdentity { name, index, labels: self.node_labels.iter().cloned().collect() }
    }

    /// The configured name.
    pub fn named(&self) -> Option<String> {
        // The variable that manifests commonly set from spec.nodeName.
        self.node_name.clone().or_else(|| std::env::var("NODE_NAME").ok()).filter(|name| !name.is_empty())
    }

    /// Directory of the secrets.
    pub fn secrets(&self) -> PathBuf {
        self.secrets_dir.clone().unwrap_or_else(|| self.config_dir.join("secrets"))
    }
}

/// The source, and how to connect to the API server.
#[derive(Debug, Clone, Args)]
pub struct ApiOptions {
    /// Where objects are read from. `both`: objects of the directory take precedence over those of the API server
    #[arg(long, env = "PEROUTER_SOURCE", value_name = "SOURCE", value_enum, default_value = "directory")]
    pub source: SourceChoice,
    /// Kubeconfig file; a token file that it names is read again every minute. With the source `both` the file may appear
    /// later [default: $KUBECONFIG, ~/.kube/config, or the service account of the pod]
    #[arg(long, env = "PEROUTER_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Read objects of this namespace only [default: all namespaces]
    #[arg(long, env = "PEROUTER_WATCH_NAMESPACE", value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,
    #[command(flatten)]
    pub state: StateOptions,
}

/// The addresses of the API server that this node is a client of: that of the client, if there is one, and that of the cluster
/// that a pod is in. A name is resolved once.
pub async fn api_servers(client: Option<&str>) -> BTreeSet<IpAddr> {
    let service = std::env::var("KUBERNETES_SERVICE_HOST").ok();
    let mut found = BTreeSet::new();
    for host in client.map(str::to_owned).into_iter().chain(service) {
        let host = host.trim_matches(['[', ']']);
        match tokio::time::timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((host, 443))).await {
            Ok(Ok(addresses)) => found.extend(addresses.map(|address| address.ip())),
            Ok(Err(error)) => tracing::warn!(host, %error, "the address of the API server is not known"),
            Err(_) => tracing::warn!(host, "the address of the API server is not known: no answer"),
        }
    }
    found
}

/// State that survives a reboot.
#[derive(Debug, Clone, Args)]
pub struct StateOptions {
    /// Directory for the last objects of the API server, used to start without it. It contains passwords and is readable
    /// by root only
    #[arg(long, env = "PEROUTER_STATE_DIR", value_name = "DIR", default_value = runtime::DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

impl StateOptions {
    /// The last snapshot of an API server.
    pub fn snapshot(&self) -> PathBuf {
        self.state_dir.join(runtime::SNAPSHOT)
    }
}

/// Where objects are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceChoice {
    /// The files of --config-dir
    Directory,
    /// The objects of a Kubernetes API server
    Kubernetes,
    /// The files of --config-dir and the objects of an API server
    Both,
}

/// A connection without data for this long is lost: the API server sends a bookmark every minute.
const READ_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(100);
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

impl ApiOptions {
    /// A client of the API server alone.
    pub fn of_cluster(kubeconfig: Option<PathBuf>) -> Self {
        let state = StateOptions { state_dir: runtime::DEFAULT_STATE_DIR.into() };
        Self { source: SourceChoice::Kubernetes, kubeconfig, watch_namespace: None, state }
    }

    /// The kubeconfig file that does not exist yet. With `both` that is no error: the files of this node may be what connects it
    /// to the cluster that writes it.
    pub fn awaited_kubeconfig(&self) -> Option<&Path> {
        self.kubeconfig.as_deref().filter(|path| self.source == SourceChoice::Both && !path.exists())
    }

    /// A client, which connects at its first request.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        Ok(kube::Client::try_from(config)?)
    }

    /// The addresses of the API servers that the node must reach: that of the source, and that of the cluster of a pod.
    pub async fn servers(&self) -> anyhow::Result<BTreeSet<IpAddr>> {
        let host = match self.source {
            SourceChoice::Directory => None,
            SourceChoice::Both if self.awaited_kubeconfig().is_some() => None,
            SourceChoice::Kubernetes | SourceChoice::Both => self.config().await?.cluster_url.host().map(str::to_owned),
        };
        Ok(api_servers(host.as_deref()).await)
    }

    async fn config(&self) -> anyhow::Result<kube::Config> {
        match &self.kubeconfig {
            Some(path) => {
                std::fs::metadata(path).with_context(|| format!("read kubeconfig {}", path.display()))?;
                let file = kube::config::Kubeconfig::read_from(path)?;
                Ok(kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default()).await?)
            }
            None => kube::Config::infer().await.map_err(|error| {
                let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").and_then(|_| kube::Config::incluster().err());
                no_api_server(&error, in_pod.as_ref())
            }),
        }
    }
}

/// `in_pod`: why the service account of this Pod is of no use.
fn no_api_server(
    error: &kube::config::InferConfigError,
    in_pod: Option<&kube::config::InClusterError>,
) -> anyhow::Error {
    if let Some(error) = in_pod {
        return anyhow::anyhow!(
            "no API server is configured: {error}: give the Pod a service account with automountServiceAccountToken, or set \
             --kubeconfig or KUBECONFIG"
        );
    }
    // Its causes repeat each other.
    let cause = std::error::Error::source(error).unwrap_or(error);
    anyhow::anyhow!("no API server is configured: {cause}: set --kubeconfig or KUBECONFIG")
}

/// The paths of the router.
#[derive(Debug, Clone, Args)]
pub struct RuntimeOptions {
    /// Directory of the router's sockets, namespaces and state
    #[arg(long, env = "PEROUTER_RUN_DIR", value_name = "DIR", default_value = runtime::DEFAULT_DIR)]
    pub run_dir: PathBuf,
    /// Path of the router network namespace
    #[arg(long, env = "PEROUTER_NETNS", value_name = "PATH", default_value = runtime::DEFAULT_ROUTER_NETNS)]
    pub netns: PathBuf,
    /// Socket of the database of Open vSwitch, for L2VNIs with an OVS bridge; it need not exist
    #[arg(long, env = "PEROUTER_OVS_SOCKET", value_name = "PATH", default_value = runtime::DEFAULT_OVS_SOCKET)]
    pub ovs_socket: PathBuf,
}

impl RuntimeOptions {
    /// The paths.
    pub fn paths(&self) -> Runtime {
        Runtime::new(&self.run_dir, &self.netns).with_ovs_socket(&self.ovs_socket)
    }
}

/// The choice of the VRF mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeChoice {
    /// `vrf` if the kernel has VRF devices, else `netns`
    Auto,
    /// One VRF device for each VRF
    Vrf,
    /// One network namespace for each VRF
    Netns,
}

impl ModeChoice {
    /// The mode that the choice selects on this kernel.
    pub fn resolve(self) -> anyhow::Result<VrfMode> {
        let supported = || vrf_device::supported().context("check whether this kernel has VRF devices");
        match self {
            Self::Netns => Ok(VrfMode::Netns),
            Self::Auto => Ok(if supported()? { VrfMode::Vrf } else { VrfMode::Netns }),
            Self::Vrf if supported()? => Ok(VrfMode::Vrf),
            Self::Vrf => anyhow::bail!("this kernel has no VRF devices: use --vrf-mode netns or auto"),
        }
    }
}

/// How the router runs: arguments of `perouter router`.
#[derive(Debug, Clone, Args)]
pub struct RouterOptions {
    #[command(flatten)]
    pub runtime: RuntimeOptions,
    /// How VRFs are isolated; a running router keeps its mode until `perouter cleanup`
    #[arg(long, env = "PEROUTER_VRF_MODE", value_name = "MODE", value_enum, default_value = "auto")]
    pub vrf_mode: ModeChoice,
    /// Directory of the FRR daemons
    #[arg(long, env = "PEROUTER_FRR_DIR", value_name = "DIR", default_value = daemons::FRR_DIR)]
    pub frr_dir: PathBuf,
    /// Serve /healthz, /readyz and (controller) /metrics on this address, such as 127.0.0.1:9476 [default: disabled]
    #[arg(long, env = "PEROUTER_HTTP_ADDRESS", value_name = "ADDRESS:PORT")]
    pub http_address: Option<SocketAddr>,
}
