//! What `ip` and `bridge` of iproute2 show of the namespaces of a node, for support. In: the paths of a router. Out: a text for each
//! command and namespace, or why there is none. Bytes and time are limited; what is left out is said in the text. It changes nothing.

use std::fs::File;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::kernel::netns;
use crate::runtime::Runtime;

/// Name of the file of a command, the program, and its arguments.
const COMMANDS: [(&str, &str, &str); 9] = [
    ("link", "ip", "-d link show"),
    ("addr", "ip", "addr show"),
    ("rule", "ip", "rule show"),
    ("rule-ipv6", "ip", "-6 rule show"),
    // Of both families.
    ("route", "ip", "route show table all"),
    ("nexthop", "ip", "nexthop show"),
    ("neigh", "ip", "neigh show"),
    ("fdb", "bridge", "fdb show"),
    ("vlan", "bridge", "vlan show"),
];

/// What the commands may print and take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes of one text: a node may have 100,000 routes.
    bytes: usize,
    /// Bytes of all texts.
    all_bytes: usize,
    /// Of one command.
    time: Duration,
    /// Of all commands.
    all_time: Duration,
}

const LIMITS: Limits =
    Limits { bytes: 2 << 20, all_bytes: 64 << 20, time: Duration::from_secs(10), all_time: Duration::from_secs(60) };

/// What the commands show in the host namespace, the router namespace, and the namespace of each IP-VRF.
pub async fn shown(runtime: &Runtime) -> Vec<(String, anyhow::Result<String>)> {
    let mut namespaces = vec![("router".to_owned(), netns::open(runtime.router_netns()).map(Some))];
    // Nobody needs rights to stay in the host namespace.
    namespaces.insert(0, ("host".to_owned(), Ok(None)));
    let mut texts = Vec::new();
    match netns::list_vrfs(runtime) {
        Ok(vrfs) => namespaces.extend(
            vrfs.into_keys().map(|vrf| (format!("vrf-{vrf}"), netns::open(&runtime.vrf_netns(&vrf)).map(Some))),
        ),
        Err(error) => texts.push(("kernel/vrfs".to_owned(), Err(error.into()))),
    }
    let mut left = Left { bytes: LIMITS.all_bytes, end: Instant::now() + LIMITS.all_time };
    for (namespace, file) in namespaces {
        match file {
            Ok(file) => texts.extend(of_namespace(&namespace, file.as_ref(), &mut left).await),
            Err(error) => texts.push((format!("kernel/{namespace}"), Err(error.into()))),
        }
    }
    texts
}

/// What is left of the limits of all commands.
struct Left {
    bytes: usize,
    end: Instant,
}

async fn of_namespace(namespace: &str, netns: Option<&File>, left: &mut Left) -> Vec<(String, anyhow::Result<String>)> {
    let mut texts = Vec::new();
    for (name, program, arguments) in COMMANDS {
        let limits = Limits { bytes: LIMITS.bytes.min(left.bytes), ..LIMITS };
        let end = left.end.min(Instant::now() + limits.time);
        let text = run(netns, program, arguments, limits.bytes, end).await;
        left.bytes = left.bytes.saturating_sub(text.as_ref().map_or(0, String::len));
        texts.push((format!("kernel/{namespace}/{name}.txt"), text));
    }
    texts
}

/// The command, and what it prints in a namespace; `None`: in that of this process.
async fn run(
    netns: Option<&File>,
    program: &str,
    arguments: &str,
    max_bytes: usize,
    end: Instant,
) -> anyhow::Result<String> {
    let shown = format!("{program} {arguments}");
    anyhow::ensure!(max_bytes > 0, "`{shown}` is left out: the other commands printed {} bytes", LIMITS.all_bytes);
    anyhow::ensure!(Instant::now() < end, "`{shown}` is left out: the other commands took {:?}", LIMITS.all_time);
    let mut child = match spawned(netns, program, arguments)? {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            anyhow::bail!("`{shown}` is left out: there is no program `{program}` here: install iproute2")
        }
        child => child.with_context(|| format!("run {shown}"))?,
    };
    let (out, errors) = (child.stdout.take(), child.stderr.take());
    let (out, errors) = tokio::join!(read(out, max_bytes, end), read(errors, 4096, end));
    let cut = if out.is_cut { format!("\n# cut here: the first {max_bytes} bytes\n") } else { String::new() };
    let late = if out.is_late { "\n# cut here: the command did not end in time\n" } else { "" };
    // A command whose output nobody reads ends.
    let status = if out.is_cut || out.is_late { None } else { timeout_at(end, child.wait()).await.ok() };
    let failed = match status {
        Some(Ok(status)) if !status.success() => format!("# {status}: {}\n", errors.text.trim()),
        _ => String::new(),
    };
    Ok(format!("# {shown}\n{}{cut}{late}{failed}", out.text))
}

/// A child has the namespace of the thread that starts it.
fn spawned(netns: Option<&File>, program: &str, arguments: &str) -> anyhow::Result<io::Result<Child>> {
    let spawn = || {
        let mut command = Command::new(program);
        command.args(arguments.split(' ')).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true).spawn()
    };
    let Some(netns) = netns else { return Ok(spawn()) };
    let runtime = Handle::current();
    Ok(netns::in_netns(netns, || {
        let _context = runtime.enter();
        spawn()
    })?)
}

/// What was read of an output.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    text: String,
    is_cut: bool,
    is_late: bool,
}

async fn read(output: Option<impl AsyncRead + Unpin>, max_bytes: usize, end: Instant) -> Read {
    let mut bytes = Vec::new();
    let mut is_late = false;
    if let Some(output) = output {
        let mut output = output.take(max_bytes as u64 + 1);
        // What was read before an error or the end of the time counts.
        is_late = timeout_at(end, output.read_to_end(&mut bytes)).await.is_err();
    }
    let is_cut = bytes.len() > max_bytes;
    bytes.truncate(max_bytes);
    Read { text: String::from_utf8_lossy(&bytes).into_owned(), is_cut, is_late }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(program: &str, arguments: &str, max_bytes: usize, time: Duration) -> String {
        let end = Instant::now() + time;
        run(None, program, arguments, max_bytes, end).await.unwrap_or_else(|error| format!("error: {error:#}"))
    }

    #[tokio::test]
    async fn bytes_and_time_of_a_command_are_limited() {
        let second = Duration::from_secs(1);
        assert_eq!(text("printf", "abc", 9, 9 * second).await, "# printf abc\nabc");
        let cut = text("yes", "x", 4, 9 * second).await;
        assert_eq!(cut, "# yes x\nx\nx\n\n# cut here: the first 4 bytes\n");
        let late = text("sleep", "30", 4, second / 10).await;
        assert_eq!(late, "# sleep 30\n\n# cut here: the command did not end in time\n");
        let failed = text("ls", "/nonexistent", 99, 9 * second).await;
        assert!(failed.starts_with("# ls /nonexistent\n# exit status: 2: ls: "), "{failed}");
    }

    #[tokio::test]
    async fn what_is_left_out_has_a_reason() {
        let none = text("no-such-program", "x", 9, LIMITS.time).await;
        let expected =
            "error: `no-such-program x` is left out: there is no program `no-such-program` here: install iproute2";
        assert_eq!(none, expected);
        assert!(text("printf", "x", 0, LIMITS.time).await.contains("the other commands printed"));
        assert!(text("printf", "x", 9, Duration::ZERO).await.contains("the other commands took"));
    }

    #[tokio::test]
    async fn every_namespace_has_its_texts_and_one_that_is_not_there_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let texts = shown(&Runtime::new(dir.path(), dir.path().join("netns"))).await;
        let names: Vec<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), COMMANDS.len() + 1);
        assert_eq!((names[0], names[COMMANDS.len()]), ("kernel/host/link.txt", "kernel/router"));
        assert!(texts[COMMANDS.len()].1.is_err());
    }
}
