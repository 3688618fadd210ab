//! A router for one test: FRR's daemons in network, mount and process namespaces of their own. Its process namespace
//! ends with the shell that is its first process, and the shell exits when this test process closes its standard input, for
//! whatever reason: nothing is left.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use perouter::frr::client::vty_routing::VtyRouting;
use perouter::frr::release::{FrrVersion, Release};
use perouter::runtime::Daemon;
use perouter::types::VrfMode;
use perouter_lab::frr;
use perouter_lab::image::RootFs;

const FRR: &str = "/usr/lib/frr";

/// The root file system with the FRR under test: the machine's, or that of the release in `PEROUTER_LAB_FRR`.
fn system() -> PathBuf {
    match frr::everywhere().unwrap() {
        Some(RootFs::Frr(release)) => frr::root_of(release),
        Some(RootFs::Host) | None => "/".into(),
    }
}

/// Whether tests with real FRR can run here; if not, prints why, and fails in CI.
pub fn can_run() -> bool {
    let reason = if !nix::unistd::geteuid().is_root() {
        "not root"
    } else if !frr::installed(&system()) {
        "FRR is not installed: apt-get install frr, or hack/frr.sh RELEASE for PEROUTER_LAB_FRR=RELEASE"
    } else {
        return true;
    };
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "test with real FRR cannot run: {reason}");
    eprintln!("SKIPPED: {reason}");
    false
}

/// A running router.
pub struct Router {
    shell: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    directory: tempfile::TempDir,
}

impl Router {
    /// Starts the daemons and waits until each listens.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("pfrr-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut shell = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private", "sh"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let input = shell.stdin.take();
        let output = BufReader::new(shell.stdout.take().unwrap());
        let mut router = Self { shell, input, output, directory };
        if system().as_path() != std::path::Path::new("/") {
            router.enter(&system().display().to_string());
        }
        router.run_daemons();
        router
    }

    /// Goes on in another root, and leaves nothing there.
    fn enter(&mut self, root: &str) {
        self.run(&format!("mount --rbind {root} {root} && mount -o remount,bind,ro {root} && cd {root}"));
        self.run("for d in tmp dev; do mount --rbind /$d $d || exit; done");
        self.run("mount -t proc none proc && mount -t sysfs none sys");
        self.run("for d in var/tmp var/lib/frr; do mount -t tmpfs -o mode=1777 none $d || exit; done");
        self.run("pivot_root . mnt && umount -l /mnt && cd /");
    }

    fn run_daemons(&mut self) {
        let dir = self.directory.path().display().to_string();
        self.run(
            "mount -t tmpfs none /run && mkdir /run/netns /run/frr && chown frr:frr /run/frr && ip link set lo up",
        );
        self.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        self.run(&format!("mkdir {dir}/vty {dir}/ns && chown frr:frr {dir} {dir}/vty"));
        for daemon in self.release().daemons {
            self.run_daemon(*daemon);
        }
    }

    /// The release of its FRR.
    pub fn release(&mut self) -> Release {
        let version = self.run(&format!("{FRR}/zebra --version"));
        Release::of(&FrrVersion::parse(&version).unwrap()).unwrap()
    }

    fn run_daemon(&mut self, daemon: Daemon) {
        let dir = self.directory.path().display().to_string();
        let release = self.release();
        let mut more = release.vrf_mode_argument(daemon, VrfMode::Netns).unwrap_or_default().to_owned();
        if !release.without_config_file.contains(&daemon) {
            more += " -f /dev/null";
        }
        self.run(&format!(
            "{FRR}/{daemon} -u frr -g frr --vty_socket {dir}/vty -i {dir}/{daemon}.pid -z {dir}/zserv.api -P 0 \
             --log file:{dir}/{daemon}.log {more} </dev/null >/dev/null 2>{dir}/{daemon}.err &"
        ));
        self.await_listening(daemon.name());
    }

    /// The socket file exists before the daemon listens, hence the connect.
    fn await_listening(&self, daemon: &str) {
        let socket = self.socket(daemon);
        let end = Instant::now() + Duration::from_secs(20);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < end, "{daemon} does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs a shell command inside; returns its standard output.
    pub fn run(&mut self, command: &str) -> String {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{command}\necho \"@@ $?\"").unwrap();
        let mut text = String::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the router's shell ended in `{command}`");
            if let Some(status) = line.strip_prefix("@@ ") {
                assert_eq!(status.trim(), "0", "`{command}`: {text}");
                return text;
            }
            text.push_str(&line);
        }
    }

    /// Adds an empty namespace, complete before zebra finds it: created elsewhere and linked into zebra's directory.
    pub fn add_vrf(&mut self, vrf: &str) {
        let file = self.directory.path().join("ns").join(vrf).display().to_string();
        self.run(&format!("touch {file} && unshare --net={file} ip link set lo up && ln -s {file} /run/netns/{vrf}"));
    }

    /// Removes the namespace. The VXLAN device is deleted first: the kernel frees the devices of a namespace some 100 ms after
    /// its removal, and until then rejects another device with that VNI. The unmount is lazy: zebra still has the file open.
    pub fn remove_vrf(&mut self, vrf: &str, vni: u32) {
        self.run(&format!("ip -n {vrf} link del vni{vni}"));
        let file = self.directory.path().join("ns").join(vrf).display().to_string();
        self.run(&format!("rm /run/netns/{vrf} && umount -l {file} && rm {file}"));
    }

    /// Process id, as seen from outside, of the first process: its namespaces are the router's.
    pub fn pid(&self) -> u32 {
        let parent = self.shell.id();
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        children.trim().parse().unwrap()
    }

    /// Kills and restarts a daemon.
    pub fn restart(&mut self, daemon: Daemon) {
        // A mgmtd that stays would configure the new zebra as the old one.
        let with_it = (daemon == Daemon::Zebra && self.release().has_mgmtd()).then_some(Daemon::Mgmtd);
        let daemons: Vec<Daemon> = with_it.into_iter().chain([daemon]).collect();
        let dir = self.directory.path().display().to_string();
        for daemon in &daemons {
            self.run(&format!("kill -9 $(cat {dir}/{daemon}.pid) && rm {dir}/vty/{daemon}.vty"));
        }
        for daemon in daemons {
            self.run_daemon(daemon);
        }
    }

    /// Adds the devices of an L3VNI, created in the namespace of its VRF: VXLAN device and bridge.
    pub fn add_vni(&mut self, vrf: &str, vni: u32, local: &str) {
        self.run(&format!(
            "ip link add vni{vni} netns {vrf} type vxlan id {vni} local {local} dstport 4789 nolearning"
        ));
        // bgpd drops routes that carry a router MAC which is also its own: each router needs another.
        let [a, b, c, d] = local.parse::<std::net::Ipv4Addr>().unwrap().octets();
        self.run(&format!("ip -n {vrf} link add br{vni} address 02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x} type bridge"));
        self.run(&format!("ip -n {vrf} link set br{vni} addrgenmode none up"));
        self.run(&format!("ip -n {vrf} link set vni{vni} master br{vni} addrgenmode none up"));
        // The kernel reports the state of the bridge up to a second late unless it is read.
        self.run(&format!("ip -n {vrf} link show dev br{vni}"));
    }

    /// The socket of a daemon.
    pub fn socket(&self, daemon: &str) -> PathBuf {
        self.directory.path().join("vty").join(format!("{daemon}.vty"))
    }

    /// Its vty sockets.
    pub fn routing(&self) -> VtyRouting {
        VtyRouting::new(self.directory.path().join("vty"), Duration::from_secs(10))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        drop(self.input.take());
        // The shell is the first process of its namespace: all others exit with it.
        let _ = self.shell.wait();
    }
}
