//! The routers of a demo without a cluster: perouter reads a directory.
//!
//! In: the demo's settings, the lab and the name of an example. Out: a router on each node. It must not know what the example
//! is about.

use std::fmt::Write as _;

use super::context::{DemoContext, NODES, await_nics};
use super::error::StepError;
use super::settings::Demo;

/// Starts perouter on both nodes with the objects of `examples/EXAMPLE`, and waits until it has the NIC; returns the commands.
pub(super) fn start(demo: &Demo, context: &mut DemoContext, example: &str) -> Result<String, StepError> {
    let config = demo.root.join("examples").join(example);
    let mut lines = String::new();
    for (index, name) in NODES.into_iter().enumerate() {
        let node = context.lab.node(name)?;
        let log = node.log_folder().join("perouter.log");
        let (program, config, index) = (demo.perouter.to_string_lossy(), config.to_string_lossy(), index.to_string());
        let words = [&*program, "run", "--config-dir", &config, "--node-name", name, "--node-index", &index];
        let router = node.spawn(&words, &log)?;
        let _ = writeln!(lines, "{name}: {}", words.join(" ").replace(&*program, "perouter"));
        context.routers.push((name, router));
    }
    await_nics(context)?;
    Ok(lines)
}
