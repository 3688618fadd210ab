//! FRR in a node, started as in FRR's container image.
//!
//! In: a node. Out: the daemons that /etc/frr/daemons of the node enables, with /etc/frr/frr.conf loaded. It must not
//! decide which daemons run or how they are configured: these two files do.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use perouter::frr::client::vty::framing::{FramingError, ReplyDecoder, encode_command};

use crate::image::{FrrRelease, RootFs};
use crate::node::{Node, NodeError};

/// The shell library with which FRR's own service script and container image start the daemons.
pub const FRR_COMMON: &str = "/usr/lib/frr/frrcommon.sh";

/// One of the FRR instances of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instance {
    /// The default one: /etc/frr, /run/frr.
    Main,
    /// One in a pathspace of FRR: /etc/frr/NAME, /run/frr/NAME, `vtysh -N NAME`.
    Named(&'static str),
}

/// /run/frr is created first: a pathspace would create it as root's, and no other daemon could use it.
/// Few processes are started: that is slow in an emulated machine. `all_start` returns the status of `vtysh -b`, so that a line that FRR rejects is an error here.
const PRELUDE: &str = r#"
log_success_msg() { :; }
log_warning_msg() { echo "$*"; }
log_failure_msg() { echo "$*"; failed=yes; }
folders="/run/frr /var/log/frr"
[ ! -d /var/lib/frr ] || folders="$folders /var/lib/frr"
install -d -o frr -g frr $folders
. /usr/lib/frr/frrcommon.sh
output=/run/frr-service${FRR_PATHSPACE:+-$FRR_PATHSPACE}.log
"#;
const START: &str = r#"all_start >"$output" 2>&1 </dev/null || failed=yes"#;
const STOP: &str = r#"all_stop >"$output" 2>&1 </dev/null || failed=yes"#;
const REPORT: &str = r#"[ -z "$failed" ] || { cat "$output"; exit 1; }"#;

/// Variable with the FRR release of all FRR nodes and all cluster nodes; it overrides their images.
pub const EVERYWHERE: &str = "PEROUTER_LAB_FRR";

/// Where `hack/frr.sh` creates the root file system with this release.
pub fn root_of(release: FrrRelease) -> PathBuf {
    let cache = || std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from).join(".cache");
    let default = || cache().unwrap_or_else(home).join("perouter");
    std::env::var_os("PEROUTER_FRR_ROOTS").map_or_else(default, PathBuf::from).join(format!("frr-{}", release.number()))
}

/// The root that [`EVERYWHERE`] selects, if it is set; its value as the error if it is not supported.
pub fn everywhere() -> Result<Option<RootFs>, String> {
    let value = std::env::var(EVERYWHERE).unwrap_or_default();
    match FrrRelease::ALL.into_iter().find(|release| release.number() == value) {
        Some(release) => Ok(Some(RootFs::Frr(release))),
        None if value.is_empty() => Ok(None),
        None if value == "8.4" => Ok(Some(RootFs::Host)),
        None => Err(value),
    }
}

/// Whether FRR is installed in a root file system.
pub fn installed(root: &Path) -> bool {
    root.join(FRR_COMMON.trim_start_matches('/')).exists()
}

/// Starts the daemons; returns when all of them listen and have loaded their configuration.
pub fn start(node: &Node, instance: Instance) -> Result<(), NodeError> {
    act(node, instance, START)
}

/// Stops the daemons, zebra last.
pub fn stop(node: &Node, instance: Instance) -> Result<(), NodeError> {
    act(node, instance, STOP)
}

/// Runs vtysh with these commands and returns its output.
pub fn vtysh(node: &Node, instance: Instance, commands: &[&str]) -> Result<String, NodeError> {
    let mut words = vec!["vtysh"];
    if let Instance::Named(name) = instance {
        words.extend(["-N", name]);
    }
    words.extend(commands.iter().flat_map(|command| ["-c", *command]));
    node.check(&words)
}

/// Runs one `show … json` command in bgpd and returns the JSON; none while bgpd does not run, or if it prints no JSON.
///
/// It uses the vty socket: starting vtysh for each of many polls is slow.
pub fn show(node: &Node, instance: Instance, command: &str) -> Result<Option<serde_json::Value>, NodeError> {
    let socket = match instance {
        Instance::Main => "/run/frr/bgpd.vty".to_owned(),
        Instance::Named(name) => format!("/run/frr/{name}/bgpd.vty"),
    };
    match run(&node.file(socket), command) {
        Ok(text) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => {
            Err(NodeError::Supervise { node: node.name().clone(), command: format!("bgpd: {command}"), source })
        }
    }
}

/// Whether the error means that the daemon does not run, or has exited meanwhile.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(error.kind(), NotFound | ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof)
}

/// How long a daemon may take to reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends one command to a daemon and returns the text of its reply.
fn run(socket: &Path, command: &str) -> io::Result<String> {
    let invalid = |source: FramingError| io::Error::new(io::ErrorKind::InvalidData, source);
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    stream.write_all(&encode_command(command).map_err(invalid)?)?;
    let (mut decoder, mut part) = (ReplyDecoder::default(), [0; 1 << 14]);
    loop {
        if let Some(reply) = decoder.next_reply().map_err(invalid)? {
            return Ok(reply.text);
        }
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => decoder.push(part.get(..length).unwrap_or_default()),
        }
    }
}

fn act(node: &Node, instance: Instance, action: &str) -> Result<(), NodeError> {
    let script = [PRELUDE, action, "\n", REPORT].concat();
    let pathspace = match instance {
        Instance::Main => "FRR_PATHSPACE=".to_owned(),
        Instance::Named(name) => format!("FRR_PATHSPACE={name}"),
    };
    node.check_for(Duration::from_secs(60), &["env", &pathspace, "bash", "-c", &script]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_reply_in_parts_is_read_completely() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("bgpd.vty");
        assert!(is_absent(&run(&socket, "show version").unwrap_err()));
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut command = [0; 5];
            stream.read_exact(&mut command).unwrap();
            for part in [&b"{\"a\""[..], b": 1}\0", b"\0\0", b"\0"] {
                stream.write_all(part).unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
            // It does not reply to the next one.
            drop(listener.accept().unwrap());
            command
        });
        assert_eq!(run(&socket, "show").unwrap(), "{\"a\": 1}");
        assert!(is_absent(&run(&socket, "show").unwrap_err()));
        assert_eq!(&daemon.join().unwrap(), b"show\0");
    }
}
