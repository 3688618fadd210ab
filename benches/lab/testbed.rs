//! The testbed: a leaf, a node, objects in files, and a host side with one BGP session for each L3VNI. In: the number
//! of L3VNIs. Out: changes to the objects, and when the leaf has their routes.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use perouter::frr::client::vty_routing::VtyRouting;
use perouter::runtime::Daemon;
use perouter_lab::lab::{self, Lab, ScopedLab};
use perouter_lab::node::{Background, Node};
use perouter_lab::topology::{LabName, read_topology};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::segment::Segment;

/// Type-5 routes of an L3VNI: the address of the session, and the route that the host advertises.
pub const TYPE5_EACH: usize = 2;
/// Limit of every wait, also on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(180);
const VTY_LIMIT: Duration = Duration::from_secs(60);
const AS_OF_NODE: u32 = 64514;
const AS_OF_HOST: u32 = 64515;

/// A point in time on two clocks: one to measure with, one to compare with logs.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// To measure with.
    pub instant: Instant,
    /// To compare with logs.
    pub wall: SystemTime,
}

impl Moment {
    /// The present.
    pub fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// Milliseconds since then.
    pub fn ms(&self) -> f64 {
        ms(self.instant.elapsed())
    }
}

/// A duration in milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Leaf, node, objects, host side.
pub struct Testbed {
    lab: ScopedLab,
    objects: TempDir,
    host: Option<Background>,
    leaf: FrrShell,
}

/// A connection to the FRR daemons of a node.
pub struct FrrShell {
    routing: VtyRouting,
    runtime: Runtime,
}

impl FrrShell {
    /// The daemons whose vty sockets are in a directory of a node.
    pub fn of(node: &Node, sockets: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { routing: VtyRouting::new(node.file(sockets), VTY_LIMIT), runtime })
    }

    /// The output of a show command.
    pub fn show(&mut self, daemon: Daemon, command: &str) -> anyhow::Result<String> {
        Ok(self.runtime.block_on(self.routing.show(daemon, command))?)
    }

    fn json(&mut self, daemon: Daemon, command: &str) -> serde_json::Value {
        let text = self.show(daemon, command).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Number of Type-3 routes of L2VNIs, by their route targets.
    fn type3_of_segments(&mut self) -> usize {
        let table = self.json(Daemon::Bgpd, "show bgp l2vpn evpn route type multicast json");
        let of_rd = table.as_object().into_iter().flatten().filter_map(|(_, routes)| routes.as_object());
        let first = format!("RT:{AS_OF_NODE}:5");
        of_rd.flatten().filter(|(_, route)| route["paths"].to_string().contains(&first)).count()
    }

    /// Number of routes that it accepted of all neighbors.
    pub fn routes(&mut self) -> usize {
        let summary = self.json(Daemon::Bgpd, "show bgp l2vpn evpn summary json");
        let peers = summary["peers"].as_object().into_iter().flatten();
        let count = |(_, peer): (_, &serde_json::Value)| peer["pfxRcd"].as_u64().unwrap_or_default();
        usize::try_from(peers.map(count).sum::<u64>()).unwrap_or(usize::MAX)
    }
}

impl Testbed {
    /// Deploys leaf and node; no objects, no host side.
    pub fn deploy(name: &str) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut topology = read_topology(&root.join("clab/bench.clab.yml"))?;
        topology.lab = LabName::new(name).context("name of the lab")?;
        lab::destroy(&topology.lab)?;
        let lab = Lab::deploy(&topology)?.destroyed_on_drop();
        let leaf = FrrShell::of(lab.node("leaf")?, "/run/frr")?;
        Ok(Self { lab, objects: TempDir::with_prefix("perouter-bench-")?, host: None, leaf })
    }

    /// The node.
    pub fn node(&self) -> anyhow::Result<&Node> {
        Ok(self.lab.node("node")?)
    }

    /// The leaf's FRR.
    pub fn leaf(&mut self) -> &mut FrrShell {
        &mut self.leaf
    }

    /// The directory of the objects.
    pub fn objects(&self) -> &Path {
        self.objects.path()
    }

    /// Writes the Underlay and this number of L3VNIs, and removes all other files.
    pub fn write_objects(&self, l3vnis: usize) -> anyhow::Result<()> {
        for entry in fs::read_dir(self.objects.path())? {
            fs::remove_file(entry?.path())?;
        }
        fs::write(self.objects.path().join("underlay.yaml"), UNDERLAY)?;
        for number in 1..=l3vnis {
            fs::write(self.path(number), l3vni(number, false))?;
        }
        Ok(())
    }

    /// Writes an L2VNI atomically.
    pub fn write_segment(&self, segment: Segment) -> anyhow::Result<()> {
        let temporary = self.objects.path().join(".segment.new");
        fs::write(&temporary, segment.manifest())?;
        Ok(fs::rename(temporary, self.path_of(segment))?)
    }

    /// Removes an L2VNI.
    pub fn remove_segment(&self, segment: Segment) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.path_of(segment))?)
    }

    fn path_of(&self, segment: Segment) -> PathBuf {
        self.objects.path().join(format!("s{}.yaml", segment.number))
    }

    /// Whether the leaf accepts Type-3 routes: those of L2VNIs are to be counted, those that FRR originates for an L3VNI for a moment
    /// are not. Neighbors must not have a session yet.
    pub fn accept_type3(&self, accept: bool) -> anyhow::Result<()> {
        let lines: &[&str] = if accept {
            &["no route-map wanted deny 5"]
        } else {
            &["route-map wanted deny 5", "match evpn route-type multicast"]
        };
        let mut words = vec!["vtysh", "-c", "configure terminal"];
        words.extend(lines.iter().flat_map(|line| ["-c", line]));
        self.lab.node("leaf")?.check(&words).map(drop).map_err(Into::into)
    }

    /// Writes one L3VNI atomically; `filtered` tags its routes so that the leaf filters them.
    pub fn write(&self, number: usize, filtered: bool) -> anyhow::Result<()> {
        let temporary = self.objects.path().join(format!(".{number}.new"));
        fs::write(&temporary, l3vni(number, filtered))?;
        Ok(fs::rename(temporary, self.path(number))?)
    }

    /// Removes one L3VNI.
    pub fn remove(&self, number: usize) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.path(number))?)
    }

    fn path(&self, number: usize) -> PathBuf {
        self.objects.path().join(format!("t{number}.yaml"))
    }

    /// Starts the host side: BIRD with a session for each L3VNI, and sets of `bulk` further routes on the first one,
    /// which are advertised only between [`Testbed::announce`] and [`Testbed::withdraw`].
    pub fn start_host(&mut self, l3vnis: usize, bulk: &[usize]) -> anyhow::Result<()> {
        self.stop_host()?;
        let node = self.lab.node("node")?;
        let conf = node.file("/run/bird.conf");
        fs::write(&conf, bird_conf(l3vnis, bulk)).with_context(|| conf.display().to_string())?;
        let log = node.log_folder().join("bird.log");
        let host = node.spawn(&["bird", "-f", "-c", "/run/bird.conf", "-s", "/run/bird.ctl"], &log)?;
        self.host = Some(host);
        wait("BIRD", || {
            node.run(&["birdc", "-s", "/run/bird.ctl", "show", "status"]).is_ok_and(|output| output.success())
        })
    }

    /// Stops the host side.
    pub fn stop_host(&mut self) -> anyhow::Result<()> {
        if let Some(mut host) = self.host.take() {
            host.terminate(Duration::from_secs(10))?;
        }
        Ok(())
    }

    /// Makes the host advertise a set of further routes.
    pub fn announce(&self, bulk: usize) -> anyhow::Result<Moment> {
        self.birdc(&["enable", &format!("bulk{bulk}")])
    }

    /// Makes the host withdraw them.
    pub fn withdraw(&self, bulk: usize) -> anyhow::Result<Moment> {
        self.birdc(&["disable", &format!("bulk{bulk}")])
    }

    fn birdc(&self, words: &[&str]) -> anyhow::Result<Moment> {
        let words: Vec<&str> = ["birdc", "-s", "/run/bird.ctl"].into_iter().chain(words.iter().copied()).collect();
        let start = Moment::now();
        self.node()?.check(&words)?;
        Ok(start)
    }

    /// Waits until the leaf has no session with the node and accepts a new one: FRR rejects connections for at least a
    /// second after a session went down.
    pub fn await_idle_leaf(&mut self) -> anyhow::Result<()> {
        wait("the leaf to accept a session", || {
            let summary = self.leaf.json(Daemon::Bgpd, "show bgp l2vpn evpn summary json");
            let peers = summary["peers"].as_object();
            peers.is_some_and(|peers| peers.values().all(|peer| peer["state"] == "Active"))
        })
    }

    /// Waits until the leaf has no Type-5 routes.
    pub fn await_no_type5(&mut self) -> anyhow::Result<()> {
        self.await_type5(0, &Moment::now()).map(drop)
    }

    /// Waits until the leaf has exactly this number of routes, all of them Type-5 unless it accepts others; returns the milliseconds
    /// since `start`.
    pub fn await_type5(&mut self, wanted: usize, start: &Moment) -> anyhow::Result<f64> {
        self.await_routes(wanted, start, |_| true)
    }

    /// The same where each L2VNI has a Type-3 route, and where they are `routed` the Type-5 route of its gateway subnet.
    pub fn await_segments(
        &mut self,
        l3vnis: usize,
        l2vnis: usize,
        routed: usize,
        start: &Moment,
    ) -> anyhow::Result<f64> {
        self.await_routes(l3vnis * TYPE5_EACH + l2vnis + routed, start, |leaf| leaf.type3_of_segments() == l2vnis)
    }

    fn await_routes(
        &mut self,
        wanted: usize,
        start: &Moment,
        mut verify: impl FnMut(&mut FrrShell) -> bool,
    ) -> anyhow::Result<f64> {
        loop {
            let found = self.leaf.routes();
            let elapsed = start.ms();
            if found == wanted && verify(&mut self.leaf) {
                return Ok(elapsed);
            }
            if start.instant.elapsed() > TIMEOUT {
                bail!("the leaf has {found} routes, and should have {wanted}, after {TIMEOUT:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Waits until the work that follows a change is finished.
pub fn settle() {
    std::thread::sleep(Duration::from_millis(700));
}

/// Polls until a condition is true.
pub fn wait(what: &str, mut probe: impl FnMut() -> bool) -> anyhow::Result<()> {
    let start = Instant::now();
    while !probe() {
        if start.elapsed() > TIMEOUT {
            bail!("waited {TIMEOUT:?} for {what}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

const UNDERLAY: &str = "
apiVersion: openpe.openperouter.github.io/v1alpha1
kind: Underlay
metadata: {name: underlay, namespace: bench}
spec:
  asn: 64514
  vtepcidr: 100.65.0.0/24
  nics: [toswitch]
  neighbors:
  - {address: 192.168.11.2, asn: 64512, connectTimeSeconds: 1}
";

/// VNI of an L3VNI, counted from 1.
pub fn vni(number: usize) -> usize {
    1000 + number
}

/// Name of its VRF.
pub fn vrf(number: usize) -> String {
    format!("t{number}")
}

/// The router's and the host's address of its session.
pub fn session(number: usize) -> (Ipv4Addr, Ipv4Addr) {
    let subnet = subnet(number).to_bits();
    (Ipv4Addr::from_bits(subnet + 1), Ipv4Addr::from_bits(subnet + 2))
}

fn subnet(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from_be_bytes([10, 64, 0, 0]) + bits(number * 16))
}

fn bits(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn advertised(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from_be_bytes([10, 200, 0, 0]) + bits(number))
}

fn l3vni(number: usize, filtered: bool) -> String {
    let (subnet, vni, vrf) = (subnet(number), vni(number), vrf(number));
    let communities = if filtered { "  toFabric: {communities: [\"65000:666\"]}\n" } else { "" };
    format!(
        "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {{name: {vrf}, namespace: bench}}\n\
         spec:\n  asn: {AS_OF_NODE}\n  vni: {vni}\n  localcidr: {{ipv4: {subnet}/28}}\n  hostasn: {AS_OF_HOST}\n\
         {communities}"
    )
}

fn bird_conf(l3vnis: usize, bulk: &[usize]) -> String {
    let mut text =
        String::from("router id 10.0.99.1;\nprotocol device { scan time 60; }\nprotocol static each { ipv4;\n");
    // Writing to a string cannot fail.
    for number in 1..=l3vnis {
        let _ = writeln!(text, "  route {}/32 blackhole;", advertised(number));
    }
    text.push_str("}\n");
    for count in bulk {
        let _ = writeln!(text, "protocol static bulk{count} {{ disabled; ipv4;");
        for route in 0..*count {
            let address = Ipv4Addr::from_bits(u32::from_be_bytes([20, 0, 0, 0]) + bits(route));
            let _ = writeln!(text, "  route {address}/32 blackhole;");
        }
        text.push_str("}\n");
    }
    for number in 1..=l3vnis {
        let (router, host) = session(number);
        let bulk = if number == 1 { " || proto ~ \"bulk*\"" } else { "" };
        let _ = writeln!(
            text,
            "protocol bgp {} {{ local {host} as {AS_OF_HOST}; neighbor {router} as {AS_OF_NODE}; direct;\n  connect \
             delay time 1; connect retry time 1; error wait time 1, 2;\n  ipv4 {{ import none; export where net = \
             {}/32{bulk}; }}; }}",
            vrf(number),
            advertised(number)
        );
    }
    text
}
