//! Settings of the demo.
//!
//! In: arguments of the command line. Out: [`Demo`], and commands as a user can type them. It must not run anything.

use std::path::PathBuf;

use crate::topology::LabName;

/// Settings of the demo.
#[derive(Debug, Clone)]
pub struct Demo {
    /// Root of the repository, with clab/ and examples/ in it.
    pub root: PathBuf,
    /// The program `perouter`.
    pub perouter: PathBuf,
    /// This program: the web servers are processes of it.
    pub own_program: PathBuf,
    /// What it shows.
    pub subject: Subject,
    /// Name of the lab, instead of the topology's.
    pub name: Option<LabName>,
    /// Keep the lab running at the end.
    pub keep: bool,
}

/// What a demo shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A service of `MetalLB` in an L3VNI.
    Metallb {
        /// Where perouter reads its objects from.
        source: Source,
        /// Image whose containers are the Pods of perouter in a cluster; without it they are processes.
        image: Option<String>,
    },
    /// Pods on the segment of an L2VNI.
    Layer2,
}

/// Where perouter reads its objects from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// Files of a directory, without a cluster; a second FRR on each node announces the services
    Directory,
    /// An API server, with the other components of a cluster
    Kubernetes,
}

impl Demo {
    /// This program as the user can type it: relative to the working directory where that is possible.
    pub fn own_command(&self) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        let program = self.own_program.strip_prefix(here).unwrap_or(&self.own_program);
        program.display().to_string()
    }

    /// The program `perouter` as a node has it: nodes have the machine's files, and / as their working directory.
    pub fn perouter_command(&self) -> String {
        self.perouter.display().to_string()
    }

    /// The command that destroys the lab, as the user can type it.
    pub fn down_command(&self) -> String {
        let name = self.name.as_ref().map_or_else(String::new, |name| format!(" --name {name}"));
        format!("{} demo down{name}", self.own_command())
    }
}
