//! Network namespaces by name, and the links between them, as lines for `ip -batch`.
//!
//! In: a topology and the holders of its nodes. Out: lines (pure), and their execution. It must not set addresses of the
//! topology's links: FRR and the `exec` commands of the topology do.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::holder::NodeHolder;
use crate::node::Node;
use crate::topology::{NodeKind, NodeName, Topology};

/// A batch of `ip` failed.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// `ip` could not be started.
    #[error("cannot run `ip {arguments}`; install iproute2")]
    Start {
        /// Its arguments.
        arguments: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// `ip` rejected a line.
    #[error("`ip {arguments}` failed: {stderr}")]
    Failed {
        /// Its arguments.
        arguments: String,
        /// Its standard error.
        stderr: String,
    },
}

/// Puts the network namespaces of these holders into /run/netns, by their long names.
pub fn attach(holders: &[NodeHolder]) -> Result<(), WiringError> {
    let lines = holders.iter().fold(String::new(), |mut lines, holder| {
        let _ = writeln!(lines, "netns attach {} {}", holder.long_name, holder.pid);
        lines
    });
    ip(&["-batch", "-"], &lines)
}

/// Removes names from /run/netns and returns how many there were; a namespace itself is freed with its last process.
pub fn detach(long_names: &[String]) -> Result<usize, WiringError> {
    let exists = |name: &&String| Path::new("/run/netns").join(name).symlink_metadata().is_ok();
    let lines: Vec<String> = long_names.iter().filter(exists).map(|name| format!("netns del {name}\n")).collect();
    if !lines.is_empty() {
        ip(&["-batch", "-"], &lines.concat())?;
    }
    Ok(lines.len())
}

/// Connects nodes by a management network like containerlab's: `eth0` in each, a bridge in the first. Returns their
/// addresses.
pub fn management_network(nodes: &[&Node]) -> Result<Vec<IpAddr>, WiringError> {
    let Some((first, others)) = nodes.split_first() else { return Ok(Vec::new()) };
    let address = |index: usize| Ipv4Addr::from(MANAGEMENT + u32::try_from(index).unwrap_or(u32::MAX));
    let up = |index| format!("address add {}/24 dev eth0\nlink set eth0 up\n", address(index));
    ip(&["-n", first.long_name(), "-batch", "-"], &format!("link add eth0 type bridge stp_state 0\n{}", up(0)))?;
    for (index, node) in (1..).zip(others) {
        let port = format!("eth0-{index}");
        let (here, there) = (first.long_name(), node.long_name());
        ip(&["-batch", "-"], &format!("link add {port} netns {here} type veth peer name eth0 netns {there}\n"))?;
        ip(&["-n", here, "-batch", "-"], &format!("link set {port} master eth0 up\n"))?;
        ip(&["-n", there, "-batch", "-"], &up(index))?;
    }
    Ok((0..nodes.len()).map(|index| address(index).into()).collect())
}

/// The first address of the management network, 172.20.20.2: under containerlab the machine has 172.20.20.1.
const MANAGEMENT: u32 = 0xac14_1402;

/// Creates all links of the topology and sets them up.
pub fn connect(topology: &Topology) -> Result<(), WiringError> {
    ip(&["-batch", "-"], &veth_lines(topology))?;
    for name in topology.nodes.keys() {
        ip(&["-n", &topology.long_name(name), "-batch", "-"], &node_lines(topology, name))?;
    }
    Ok(())
}

/// Both ends are created in their namespaces: moving a device takes 20 ms.
fn veth_lines(topology: &Topology) -> String {
    topology.links.iter().fold(String::new(), |mut lines, link| {
        let [a, b] = &link.ends;
        let address = |mac: &Option<String>| mac.as_ref().map_or_else(String::new, |mac| format!(" address {mac}"));
        let _ = writeln!(
            lines,
            "link add name {} mtu {mtu}{} netns {} type veth peer name {} mtu {mtu}{} netns {}",
            a.interface,
            address(&a.mac),
            topology.long_name(&a.node),
            b.interface,
            address(&b.mac),
            topology.long_name(&b.node),
            mtu = link.mtu,
        );
        lines
    })
}

fn node_lines(topology: &Topology, name: &NodeName) -> String {
    let is_bridge = topology.nodes.get(name).is_some_and(|spec| spec.kind == NodeKind::Bridge);
    let mut lines = "link set lo up\n".to_owned();
    if is_bridge {
        let _ = writeln!(lines, "link add name {name} type bridge stp_state 0\nlink set {name} up");
    }
    let ends = topology.links.iter().flat_map(|link| &link.ends).filter(|end| end.node == *name);
    for end in ends {
        let master = if is_bridge { format!(" master {name}") } else { String::new() };
        let _ = writeln!(lines, "link set {}{master} up", end.interface);
    }
    lines
}

fn ip(arguments: &[&str], lines: &str) -> Result<(), WiringError> {
    let joined = || arguments.join(" ");
    let start = |source| WiringError::Start { arguments: joined(), source };
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(lines.as_bytes()) {
            // It exited before it had read everything: its standard error says why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(start(error)),
            _ => {}
        }
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(WiringError::Failed { arguments: joined(), stderr })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::parse_topology;

    #[test]
    fn both_ends_are_created_in_place_and_a_bridge_has_its_ports() {
        let text = r#"
name: t
topology:
  nodes:
    a: {kind: ext-container}
    switch: {kind: bridge}
  links:
    - endpoints: ["a:eth1", "switch:p1"]
    - type: veth
      mtu: 1500
      endpoints:
        - {node: a, interface: eth2, mac: "02:00:00:00:00:01"}
        - {node: switch, interface: p2}
"#;
        let topology = parse_topology(Path::new("t"), text).unwrap();
        assert_eq!(
            veth_lines(&topology),
            "link add name eth1 mtu 9500 netns clab-t-a type veth peer name p1 mtu 9500 netns clab-t-switch\n\
             link add name eth2 mtu 1500 address 02:00:00:00:00:01 netns clab-t-a \
             type veth peer name p2 mtu 1500 netns clab-t-switch\n"
        );
        let lines: Vec<_> = topology.nodes.keys().map(|name| node_lines(&topology, name)).collect();
        assert_eq!(
            lines,
            [
                "link set lo up\nlink set eth1 up\nlink set eth2 up\n",
                "link set lo up\nlink add name switch type bridge stp_state 0\nlink set switch up\n\
                 link set p1 master switch up\nlink set p2 master switch up\n"
            ]
        );
    }
}
