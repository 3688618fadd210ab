//! The same router without perouter: devices created by `ip -batch`, FRR started with configuration files, changes
//! applied by frr-reload.py. In: the testbed and the configuration that perouter's FRR had. Out: how long each took.
//! For both VRF modes.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::unistd::Pid;
use perouter::runtime::Daemon;
use perouter::types::VrfMode;
use perouter_lab::node::Node;

use crate::process;
use crate::segment::Segment;
use crate::testbed::{FrrShell, Moment, Testbed, session, vni, vrf};

/// FRR's directory in the node.
const DIR: &str = "/run/plain";
const NETNS: &str = "/run/plain/netns";
const VTEP: &str = "100.65.0.1";
/// In the order of start: bgpd, which depends on the others, is the last.
const DAEMONS: [Daemon; 4] = [Daemon::Zebra, Daemon::Staticd, Daemon::Bfdd, Daemon::Bgpd];
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);

/// FRR configuration of a router.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// One file for each daemon, as it prints it.
    daemons: Vec<(Daemon, String)>,
    /// That of all daemons, as `vtysh` prints it.
    integrated: String,
}

impl Configuration {
    /// Reads the configuration of a running FRR.
    pub fn of(node: &Node, frr: &mut FrrShell, sockets: &str) -> anyhow::Result<Self> {
        let text = |daemon: Daemon| Ok((daemon, strip(&frr.show(daemon, "show running-config")?)));
        let daemons = DAEMONS.into_iter().map(text).collect::<anyhow::Result<_>>()?;
        let integrated = node.check(&["vtysh", "--vty_socket", sockets, "-c", "show running-config"])?;
        Ok(Self { daemons, integrated: strip(&integrated) })
    }
}

/// The configuration without the header that the command prints.
fn strip(text: &str) -> String {
    let head = ["Building configuration...", "Current configuration:"];
    let lines = text.lines().filter(|line| !head.contains(&line.trim()));
    // The namespaces are in another directory here.
    lines.map(|line| line.replace("netns /run/perouter/ns/", "netns /run/netns/") + "\n").collect()
}

/// The running router.
pub struct Baseline {
    node: Node,
    mode: VrfMode,
    devices: usize,
    segments: Vec<Segment>,
}

/// What a router without perouter has.
#[derive(Debug, Default)]
pub struct Devices {
    /// L3VNIs that are in its configuration.
    pub l3vnis: usize,
    /// Further L3VNIs, not in the configuration yet, whose devices are created before the measurement.
    pub later: usize,
    /// L2VNIs.
    pub segments: Vec<Segment>,
}

/// How long the build took.
#[derive(Debug, Clone, Copy)]
pub struct Built {
    /// When it began.
    pub start: Moment,
    /// Milliseconds of `ip -batch`.
    pub devices_ms: f64,
}

impl Baseline {
    /// Creates the devices, then starts FRR with the files.
    pub fn start(
        testbed: &mut Testbed,
        mode: VrfMode,
        configuration: &Configuration,
        devices: Devices,
    ) -> anyhow::Result<(Self, Built)> {
        let Devices { l3vnis, later, segments } = devices;
        let baseline = Self { node: testbed.node()?.clone(), mode, devices: l3vnis + later, segments };
        baseline.prepare(configuration)?;
        if later > 0 {
            baseline.write_batches(l3vnis + 1, baseline.devices)?;
            baseline.run(&baseline.build_script(l3vnis + 1, baseline.devices))?;
        }
        baseline.write_batches(1, l3vnis)?;
        let nic = format!("nsenter --net={NETNS} ip -batch {DIR}/nic.batch");
        let build = format!("ip link set toswitch netns {NETNS} && {nic} && {}", baseline.build_script(1, l3vnis));
        let launch = baseline.launch_script();
        testbed.await_idle_leaf()?;
        let start = Moment::now();
        baseline.run(&build)?;
        let devices_ms = start.ms();
        baseline.run(&launch)?;
        Ok((baseline, Built { start, devices_ms }))
    }

    /// Creates the devices of one more L2VNI; returns when it began.
    pub fn add_segment(&mut self, segment: Segment) -> anyhow::Result<Moment> {
        let batches = segment.batches(self.mode, VTEP, NETNS);
        for (name, text) in [("outside", batches.outside), ("host", batches.host), ("inside", batches.inside)] {
            fs::write(self.file(&format!("{name}.batch")), text)?;
        }
        let inside = self.ip_inside(segment);
        let enter = format!("nsenter --net={NETNS} ip -batch {DIR}/outside.batch && ip -batch {DIR}/host.batch");
        self.segments.push(segment);
        let start = Moment::now();
        self.run(&format!("{enter} && {inside} -batch {DIR}/inside.batch"))?;
        Ok(start)
    }

    /// `ip` in the namespace of the IP-VRF of an L2VNI.
    fn ip_inside(&self, segment: Segment) -> String {
        match self.mode {
            VrfMode::Netns => format!("ip -n {}", vrf(segment.number)),
            VrfMode::Vrf => format!("nsenter --net={NETNS} ip"),
        }
    }

    /// Deletes the devices of an L2VNI; returns when it began.
    pub fn remove_segment(&mut self, segment: Segment) -> anyhow::Result<Moment> {
        self.segments.retain(|known| known.number != segment.number);
        let (vni, bridge) = (segment.vni(), segment.host_bridge());
        let inside = self.ip_inside(segment);
        let start = Moment::now();
        self.run(&format!(
            "ip link del host-{vni} && {inside} link del vni{vni} && {inside} link del br-pe-{vni} && ip link del {bridge}"
        ))?;
        Ok(start)
    }

    /// Applies a configuration with frr-reload.py; returns when it began and its milliseconds.
    pub fn reload(&self, configuration: &Configuration) -> anyhow::Result<(Moment, f64)> {
        fs::write(self.file("reload.conf"), &configuration.integrated)?;
        let script = format!(
            "exec /usr/lib/frr/frr-reload.py --reload --bindir /usr/bin --confdir {DIR} --rundir {DIR} \
             --vty_socket {DIR} {DIR}/reload.conf"
        );
        let start = Moment::now();
        self.run(&script)?;
        let elapsed = start.ms();
        Ok((start, elapsed))
    }

    /// The process id of a daemon.
    pub fn daemon(&self, name: &str) -> anyhow::Result<Pid> {
        process::in_netns(name, &self.node.file(NETNS))
    }

    /// Stops FRR and removes the devices.
    pub fn remove(self) -> anyhow::Result<()> {
        let mut script = String::new();
        for daemon in DAEMONS.into_iter().rev() {
            // zebra may be in the namespace of an IP-VRF: it is found by its pid file.
            let _ = writeln!(script, "pid=$(cat {DIR}/{daemon}.pid); kill -9 $pid");
            let _ = writeln!(script, "while kill -0 $pid 2>/dev/null; do sleep 0.02; done");
        }
        let _ = writeln!(script, "nsenter --net={NETNS} ip link set toswitch netns 1");
        for segment in &self.segments {
            let _ = writeln!(script, "ip link del host-{}; ip link del {}", segment.vni(), segment.host_bridge());
        }
        for number in 1..=self.devices {
            let _ = writeln!(script, "ip link del host-{}", vni(number));
            if self.mode == VrfMode::Netns {
                let _ = writeln!(script, "ip netns del {}", vrf(number));
            }
        }
        let _ = writeln!(script, "umount {NETNS}; rm -rf {DIR}; ip address add 192.168.11.3/24 dev toswitch");
        let path = self.file("remove.sh");
        fs::write(&path, script)?;
        self.run(&format!("sh {DIR}/remove.sh"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.node.file(DIR).join(name)
    }

    fn run(&self, script: &str) -> anyhow::Result<()> {
        let output = self.node.run_for(COMMAND_TIMEOUT, &["sh", "-c", script])?;
        if !output.success() {
            let end =
                |text: &str| text.chars().rev().take(2000).collect::<Vec<_>>().into_iter().rev().collect::<String>();
            bail!("exited with {:?}: {}{}", output.code, end(&output.stdout), end(&output.stderr));
        }
        Ok(())
    }

    /// Creates the router's namespace and the files.
    fn prepare(&self, configuration: &Configuration) -> anyhow::Result<()> {
        self.run(&format!(
            "mkdir -p {DIR} /run/netns && touch {NETNS} && unshare --net={NETNS} true && chown frr:frrvty {DIR}"
        ))?;
        fs::write(self.file("nic.batch"), nic_batch())?;
        for (daemon, text) in &configuration.daemons {
            let path = self.file(&format!("{daemon}.conf"));
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    fn write_batches(&self, from: usize, to: usize) -> anyhow::Result<()> {
        let mut names = String::new();
        let mut outside = String::new();
        let mut host = String::new();
        let mut links = String::new();
        for number in from..=to {
            let (vni, vrf, (router_side, host_side)) = (vni(number), vrf(number), session(number));
            let netns = if self.mode == VrfMode::Netns { format!(" netns {vrf}") } else { String::new() };
            let _ = writeln!(names, "netns add {vrf}");
            let _ = writeln!(
                outside,
                "link add vni{vni}{netns} type vxlan id {vni} local {VTEP} dstport 4789 nolearning tos 0x2"
            );
            let peer = if self.mode == VrfMode::Netns { vrf.clone() } else { NETNS.to_owned() };
            let _ = writeln!(
                host,
                "link add host-{vni} type veth peer name pe-{vni} netns {peer}\nlink set host-{vni} up\naddress add \
                 {host_side}/28 dev host-{vni}"
            );
            let mut inside = inside_batch(vni, &router_side.to_string(), (self.mode == VrfMode::Vrf).then_some(&vrf));
            if let Some(segment) = self.segments.iter().find(|segment| segment.number == number) {
                let batches = segment.batches(self.mode, VTEP, NETNS);
                outside.push_str(&batches.outside);
                host.push_str(&batches.host);
                inside.push_str(&batches.inside);
            }
            if self.mode == VrfMode::Netns {
                fs::write(self.file(&format!("{vrf}.batch")), inside)?;
            } else {
                links.push_str(&inside);
            }
        }
        for (name, text) in [("names", names), ("outside", outside), ("host", host), ("links", links)] {
            fs::write(self.file(&format!("{name}.batch")), text)?;
        }
        Ok(())
    }

    /// Devices are created in their final namespace, and a VXLAN device before its bridge: in any other order zebra
    /// misses links.
    fn build_script(&self, from: usize, to: usize) -> String {
        let enter = format!("nsenter --net={NETNS}");
        let outside = format!("{enter} ip -batch {DIR}/outside.batch && ip -batch {DIR}/host.batch");
        match self.mode {
            VrfMode::Vrf => format!("{outside} && {enter} ip -batch {DIR}/links.batch"),
            VrfMode::Netns => format!(
                "ip -batch {DIR}/names.batch && {outside} && for i in $(seq {from} {to}); do ip -n t$i -batch \
                 {DIR}/t$i.batch || exit 1; done"
            ),
        }
    }

    fn launch_script(&self) -> String {
        let mut script = "ulimit -n $(ulimit -Hn)".to_owned();
        for daemon in DAEMONS {
            let more = match (daemon, self.mode) {
                (Daemon::Zebra, VrfMode::Netns) => " -n",
                (Daemon::Bgpd, _) => " -p 179",
                _ => "",
            };
            let _ = write!(
                script,
                " && nsenter --net={NETNS} /usr/lib/frr/{daemon} -d -f {DIR}/{daemon}.conf -P 0 -i {DIR}/{daemon}.pid \
                 --vty_socket {DIR} -z {DIR}/zserv.api --log file:{DIR}/{daemon}.log --log-level informational \
                 --limit-fds 65536{more}"
            );
        }
        script
    }
}

fn nic_batch() -> String {
    format!(
        "link set lo up\naddress add {VTEP}/32 dev lo\naddress add 192.168.11.3/24 dev toswitch\nlink set toswitch up\n"
    )
}

fn inside_batch(vni: usize, address: &str, vrf: Option<&String>) -> String {
    let mut text = String::new();
    if let Some(vrf) = vrf {
        let _ = writeln!(text, "link add {vrf} type vrf table {vni}\nlink set {vrf} up");
    } else {
        text.push_str("link set lo up\n");
    }
    let (a, b, c) = (vni / 65536 % 256, vni / 256 % 256, vni % 256);
    let _ = writeln!(
        text,
        "link add br-pe-{vni} address 02:40:01:{a:02x}:{b:02x}:{c:02x} type bridge stp_state 0 mcast_snooping 0\nlink \
         set br-pe-{vni} addrgenmode none"
    );
    if let Some(vrf) = vrf {
        let _ = writeln!(text, "link set br-pe-{vni} master {vrf}\nlink set pe-{vni} master {vrf}");
    }
    let _ = writeln!(
        text,
        "link set vni{vni} addrgenmode none\nlink set vni{vni} master br-pe-{vni}\nlink set vni{vni} type bridge_slave \
         neigh_suppress on learning off\nlink set br-pe-{vni} up\nlink set vni{vni} up\nlink set pe-{vni} up\naddress \
         add {address}/28 dev pe-{vni}"
    );
    text
}
