//! Options that subcommands share.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::runtime::{self, Runtime};
use crate::snapshot::NodeIdentity;

/// Where objects are read from and for which node.
#[derive(Debug, Clone, Args)]
pub struct SourceOptions {
    /// Directory with Underlay and L3VNI objects (YAML or JSON)
    #[arg(long, env = "PEROUTER_CONFIG_DIR", value_name = "DIR", default_value = "/etc/perouter")]
    pub config_dir: PathBuf,
    /// Directory of the passwords that objects name: SECRETS/NAME/KEY [default: secrets in the directory of the objects]
    #[arg(long, env = "PEROUTER_SECRETS_DIR", value_name = "SECRETS")]
    pub secrets_dir: Option<PathBuf>,
    /// Name of this node [default: host name]
    #[arg(long, env = "PEROUTER_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Index of this node, unique in the fabric: VTEP, router id and session addresses follow from it
    #[arg(long, env = "PEROUTER_NODE_INDEX", value_name = "N")]
    pub node_index: u32,
    /// Label of this node, for node selectors; may be repeated
    #[arg(long = "node-label", env = "PEROUTER_NODE_LABELS", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    pub node_labels: Vec<(String, String)>,
}

/// Reads `KEY=VALUE`.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "write KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

impl SourceOptions {
    /// Who the node is.
    pub fn node(&self) -> anyhow::Result<NodeIdentity> {
        let name = match &self.node_name {
            Some(name) => name.clone(),
            None => nix::unistd::gethostname()
                .context("host name")?
                .into_string()
                .map_err(|raw| anyhow::anyhow!("host name {} is not UTF-8: set --node-name", raw.display()))?,
        };
        Ok(NodeIdentity { name, index: self.node_index, labels: self.node_labels.iter().cloned().collect() })
    }

    /// Directory of the secrets.
    pub fn secrets(&self) -> PathBuf {
        self.secrets_dir.clone().unwrap_or_else(|| self.config_dir.join("secrets"))
    }
}

/// Where the router lives.
#[derive(Debug, Clone, Args)]
pub struct RuntimeOptions {
    /// Directory of the router's sockets, namespaces and state
    #[arg(long, env = "PEROUTER_RUN_DIR", value_name = "DIR", default_value = runtime::DEFAULT_DIR)]
    pub run_dir: PathBuf,
    /// The router network namespace
    #[arg(long, env = "PEROUTER_NETNS", value_name = "PATH", default_value = runtime::DEFAULT_ROUTER_NETNS)]
    pub netns: PathBuf,
}

impl RuntimeOptions {
    /// The paths.
    pub fn paths(&self) -> Runtime {
        Runtime::new(&self.run_dir, &self.netns)
    }
}

/// The VRF mode asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeChoice {
    /// `vrf` where the kernel has VRF devices, else `netns`
    Auto,
    /// VRF devices
    Vrf,
    /// One network namespace for each VRF
    Netns,
}
