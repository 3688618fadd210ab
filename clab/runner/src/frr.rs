//! FRR in a node, started as its own container image starts it.
//!
//! In: a node. Out: the daemons that /etc/frr/daemons of the node asks for, with /etc/frr/frr.conf loaded. It must not
//! decide what runs or how it is configured: these two files do.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::image::RootFs;
use crate::node::{Node, NodeError};

/// The shell library with which FRR's own service script and container image start the daemons.
pub const FRR_COMMON: &str = "/usr/lib/frr/frrcommon.sh";

/// Which of a node's FRRs is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instance {
    /// The node's own: /etc/frr, /run/frr.
    Main,
    /// One beside it, in FRR's words a pathspace: /etc/frr/NAME, /run/frr/NAME, `vtysh -N NAME`.
    Named(&'static str),
}

/// /run/frr is made first: a pathspace would leave it to root, and then no other daemon could use it.
/// `all_start` gives the status of `vtysh -b`, so that a line that FRR refuses is an error here.
const PRELUDE: &str = r#"
log_success_msg() { :; }
log_warning_msg() { echo "$*"; }
log_failure_msg() { echo "$*"; failed=yes; }
install -d -o frr -g frr /run/frr /var/log/frr
[ ! -d /var/lib/frr ] || chown frr:frr /var/lib/frr
. /usr/lib/frr/frrcommon.sh
said=$(mktemp)
"#;
const START: &str = r#"all_start >"$said" 2>&1 </dev/null || failed=yes"#;
const STOP: &str = r#"all_stop >"$said" 2>&1 </dev/null || failed=yes"#;
const END: &str = r#"[ -z "$failed" ] || cat "$said"; rm "$said"; [ -z "$failed" ]"#;

/// The release that all FRR nodes and all cluster nodes run whatever their image says, if there is one.
pub const EVERYWHERE: &str = "PEROUTER_LAB_FRR";

/// Where `make lab-frr10` puts the root file system of Debian trixie with FRR 10.3.
pub fn trixie() -> PathBuf {
    let cache = || std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from).join(".cache");
    let made = || cache().unwrap_or_else(home).join("perouter/frr10");
    std::env::var_os("PEROUTER_FRR10_ROOT").map_or_else(made, PathBuf::from)
}

/// The root that [`EVERYWHERE`] asks for; the variable's value when there is no such root.
pub fn everywhere() -> Result<Option<RootFs>, String> {
    match std::env::var(EVERYWHERE).unwrap_or_default().as_str() {
        "" => Ok(None),
        "8.4" => Ok(Some(RootFs::Host)),
        "10.3" => Ok(Some(RootFs::Trixie)),
        other => Err(other.to_owned()),
    }
}

/// Whether FRR is installed in a root file system.
pub fn installed(root: &Path) -> bool {
    root.join(FRR_COMMON.trim_start_matches('/')).exists()
}

/// Starts the daemons; returns when all listen and have their configuration.
pub fn start(node: &Node, instance: Instance) -> Result<(), NodeError> {
    act(node, instance, START)
}

/// Ends the daemons, zebra last.
pub fn stop(node: &Node, instance: Instance) -> Result<(), NodeError> {
    act(node, instance, STOP)
}

/// Runs vtysh with these commands and gives what it printed.
pub fn vtysh(node: &Node, instance: Instance, commands: &[&str]) -> Result<String, NodeError> {
    let mut words = vec!["vtysh"];
    if let Instance::Named(name) = instance {
        words.extend(["-N", name]);
    }
    words.extend(commands.iter().flat_map(|command| ["-c", *command]));
    node.check(&words)
}

/// Asks bgpd with one `show … json` command and gives what it means; nothing while bgpd does not answer, or not with JSON.
///
/// On its vty socket: to start vtysh takes longer than all else where one looks again and again.
pub fn show(node: &Node, instance: Instance, command: &str) -> Result<Option<serde_json::Value>, NodeError> {
    let socket = match instance {
        Instance::Main => "/run/frr/bgpd.vty".to_owned(),
        Instance::Named(name) => format!("/run/frr/{name}/bgpd.vty"),
    };
    match ask(&node.file(socket), command) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if is_absence(&error) => Ok(None),
        Err(source) => {
            Err(NodeError::Follow { node: node.name().clone(), command: format!("bgpd: {command}"), source })
        }
    }
}

/// Whether a daemon is not there, or went away in the middle.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(error.kind(), NotFound | ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof)
}

/// How long a daemon may think.
const ANSWER: Duration = Duration::from_secs(60);

/// One command as vtysh sends it: NUL at its end, and three NULs and a status at the end of the answer (`lib/vty.c`).
fn ask(socket: &Path, command: &str) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(&[command.as_bytes(), b"\0"].concat())?;
    let (mut answer, mut part) = (Vec::new(), [0; 1 << 14]);
    loop {
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
        if let [text @ .., 0, 0, 0, _] = &answer[..] {
            return Ok(text.to_vec());
        }
    }
}

fn act(node: &Node, instance: Instance, action: &str) -> Result<(), NodeError> {
    let script = [PRELUDE, action, "\n", END].concat();
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
    fn an_answer_in_parts_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("bgpd.vty");
        assert!(is_absence(&ask(&socket, "show version").unwrap_err()));
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 5];
            stream.read_exact(&mut asked).unwrap();
            for part in [&b"{\"a\""[..], b": 1}\0", b"\0\0", b"\0"] {
                stream.write_all(part).unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
            // The next one it does not answer.
            drop(listener.accept().unwrap());
            asked
        });
        assert_eq!(ask(&socket, "show").unwrap(), b"{\"a\": 1}");
        assert!(is_absence(&ask(&socket, "show").unwrap_err()));
        assert_eq!(&daemon.join().unwrap(), b"show\0");
    }
}
