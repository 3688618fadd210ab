//! `kubectl perouter`: which Pod of which node runs what, and the exit status. With a double of kubectl that knows three Pods and says
//! how it is called; `tests/kubernetes_lab/` has the real one on a real API server.

#![allow(clippy::unwrap_used, reason = "a test file")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Writes how it is called, words with a space in quotes. `exec` on a Pod exits with the status in the file of its name.
const KUBECTL: &str = r#"#!/bin/sh
called=
for word; do
  case $word in
  *" "*) called="$called '$word'" ;;
  *) called="$called $word" ;;
  esac
done
printf '%s\n' "${called# }" >>"$FOLDER/calls"
case " $* " in
*" get pods "*) cat "$FOLDER/pods" ;;
*" exec "*)
  for word; do
    [ ! -e "$FOLDER/status-$word" ] || {
      echo "output of $word"
      status=$(cat "$FOLDER/status-$word")
      [ "$status" = 0 ] || echo "command terminated with exit code $status" >&2
      exit "$status"
    }
  done
  echo "error: unable to upgrade connection" >&2
  exit 1
  ;;
esac
"#;

/// What kubectl prints of a Pod: its node, component and name, the command of its container, and the state of that.
fn pod(node: &str, component: &str, name: &str, command: &str, state: &str) -> String {
    format!("pod {node} {component} {name}\ncontainer {component} {command}\nstatus {component} {state}\n")
}

const COMMAND: &str = r#"["setpriv","--no-new-privs","perouter"]"#;
const RUNNING: &str = r#"{"startedAt":"2026-01-01T00:00:00Z"}"#;

/// The controller of n2 does not run. The controllers of another program are none of perouter.
fn pods() -> String {
    let others = pod("n1", "controller", "a-controller", r#"["sh","-c","sleep 1 \n"]"#, RUNNING)
        + &pod("n2", "controller", "another", "", RUNNING)
        + &pod("n3", "router", "another", r#"["perouter-exporter"]"#, RUNNING)
        + "pod n2 controller sidecar\ncontainer proxy [\"perouter\"]\nstatus proxy {\"startedAt\":null}\n";
    [
        pod("n2", "router", "router-b", COMMAND, RUNNING),
        pod("n2", "controller", "controller-b", COMMAND, ""),
        others,
        pod("n1", "router", "router-a", COMMAND, RUNNING),
        pod("n1", "controller", "controller-a", COMMAND, RUNNING),
    ]
    .concat()
}

const GET: &str = "get pods --selector 'app.kubernetes.io/component in (controller,router)' --output 'jsonpath=";

struct Plugin {
    folder: tempfile::TempDir,
}

/// Exit status, standard output, standard error, and the calls of kubectl.
#[derive(Debug)]
struct Ran {
    status: i32,
    out: String,
    error: String,
    calls: Vec<String>,
}

impl Plugin {
    fn new(pods: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubectl = folder.path().join("kubectl");
        fs::write(&kubectl, KUBECTL).unwrap();
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("pods"), pods).unwrap();
        let plugin = Self { folder };
        for pod in ["router-a", "router-b", "controller-a", "controller-b"] {
            plugin.exits(pod, 0);
        }
        plugin
    }

    fn exits(&self, pod: &str, status: i32) {
        fs::write(self.path(&format!("status-{pod}")), status.to_string()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, words: &[&str]) -> Ran {
        let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubectl/kubectl-perouter");
        let folder = self.folder.path();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        fs::write(self.path("calls"), "").unwrap();
        let mut command = Command::new(plugin);
        command.args(words).env("PATH", path).env("FOLDER", folder).current_dir(folder).stdin(Stdio::null());
        let output = command.output().unwrap();
        let calls = fs::read_to_string(self.path("calls")).unwrap();
        Ran {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            error: String::from_utf8(output.stderr).unwrap(),
            calls: calls.lines().map(str::to_owned).collect(),
        }
    }

    /// The last call of kubectl, where the plugin exits with the status of the Pod.
    fn exec(&self, words: &[&str], status: i32) -> String {
        let ran = self.run(words);
        assert_eq!(ran.status, status, "{words:?}: {ran:?}");
        ran.calls.last().unwrap().clone()
    }

    fn fails(&self, words: &[&str], message: &str) {
        let ran = self.run(words);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{words:?}: {ran:?}");
        assert_eq!(ran.error, format!("kubectl perouter: {message}\n"), "{words:?}");
        assert!(!ran.calls.iter().any(|call| call.contains(" exec ")), "{words:?}: {ran:?}");
    }
}

const NAMESPACE: &str = "--namespace openperouter-system";

#[test]
fn a_subcommand_runs_in_a_pod_of_the_node_and_its_exit_status_is_passed_on() {
    let plugin = Plugin::new(&pods());
    for status in [0, 1, 2, 3] {
        plugin.exits("controller-a", status);
        let called = plugin.exec(&["sessions", "--node", "n1", "-o", "json"], status);
        assert_eq!(
            called,
            format!("{NAMESPACE} exec controller-a --container controller -- perouter sessions -o json")
        );
    }
    plugin.exits("router-b", 1);
    let called = plugin.exec(&["--node=n2", "routes", "red"], 1);
    assert_eq!(
        called,
        format!("{NAMESPACE} exec router-b --container router -- perouter routes red"),
        "the controller does not run"
    );
}

#[test]
fn options_of_kubectl_are_taken_out_and_words_stay_words() {
    let plugin = Plugin::new(&pods());
    let words =
        ["--context", "a b", "trace", "10.0.0.1", "-n", "ns", "--kubeconfig=/k", "--node", "n1", "--", "--node"];
    let ran = plugin.run(&words);
    let options = "--context 'a b' --kubeconfig /k --namespace ns";
    assert!(ran.calls[0].starts_with(&format!("{options} {GET}")), "{ran:?}");
    assert_eq!(
        ran.calls[1],
        format!("{options} exec controller-a --container controller -- perouter trace 10.0.0.1 -- --node")
    );
    assert_eq!((ran.status, ran.calls.len()), (0, 2));
}

#[test]
fn without_a_node_the_nodes_are_named() {
    let plugin = Plugin::new(&pods());
    plugin.fails(&["status"], "set --node or --all-nodes; nodes: n1 n2");
    plugin.fails(&["status", "--node", "n3"], "no Pod of perouter runs on node n3; nodes: n1 n2");
    plugin.fails(&["status", "--node", "n1", "--all-nodes"], "--node and --all-nodes exclude each other");
    plugin.fails(&["status", "--node"], "--node needs a value");
    // What does not depend on the node runs on any.
    for words in [&["crds"][..], &["sessions", "--help"], &["--version"]] {
        assert_eq!(
            plugin.exec(words, 0),
            format!("{NAMESPACE} exec controller-a --container controller -- perouter {}", words.join(" "))
        );
    }
    assert_eq!(
        plugin.exec(&["validate", "-"], 0),
        format!("{NAMESPACE} exec --stdin controller-a --container controller -- perouter validate -")
    );
    // The only node need not be named.
    let one = Plugin::new(&pod("n1", "router", "router-a", COMMAND, RUNNING));
    assert_eq!(one.exec(&["status"], 0), format!("{NAMESPACE} exec router-a --container router -- perouter status"));
    let none = Plugin::new(&pod("n1", "router", "router-a", COMMAND, ""));
    none.fails(&["status"], "no Pod of perouter runs in namespace openperouter-system: set --namespace");
}

#[test]
fn what_runs_or_removes_a_router_is_not_run() {
    let plugin = Plugin::new(&pods());
    for command in ["run", "router", "controller", "cleanup"] {
        let message = format!("{command} is not for kubectl: it runs or removes the router of a node");
        plugin.fails(&[command, "--node", "n1"], &message);
    }
    for (words, status) in [(&[][..], 2), (&["--help"], 0)] {
        let ran = plugin.run(words);
        assert_eq!((ran.status, ran.calls.len()), (status, 0), "{ran:?}");
        assert!((ran.out + &ran.error).contains("Usage: kubectl perouter SUBCOMMAND"));
    }
}

#[test]
fn all_nodes_have_a_header_each_and_the_most_severe_exit_status_counts() {
    let plugin = Plugin::new(&pods());
    for (first, second, status) in [(0, 0, 0), (0, 3, 3), (1, 3, 1), (3, 1, 1), (2, 1, 2), (1, 2, 2), (126, 0, 126)] {
        plugin.exits("controller-a", first);
        plugin.exits("router-b", second);
        let ran = plugin.run(&["check", "--all-nodes"]);
        assert_eq!(ran.status, status, "{first} {second}: {ran:?}");
        assert_eq!(ran.out, "==> n1 <==\noutput of controller-a\n\n==> n2 <==\noutput of router-b\n");
    }
}

#[test]
fn a_node_on_which_kubectl_runs_nothing_has_not_answered() {
    let plugin = Plugin::new(&pods());
    fs::remove_file(plugin.path("status-controller-a")).unwrap();
    let ran = plugin.run(&["check", "--node", "n1"]);
    let error = "error: unable to upgrade connection\nkubectl perouter: perouter was not run on node n1\n";
    assert_eq!((ran.status, ran.out.as_str(), ran.error.as_str()), (2, "", error));
    for status in [0, 1, 3] {
        plugin.exits("router-b", status);
        assert_eq!(plugin.run(&["check", "--all-nodes"]).status, 2, "{status}");
    }
}

#[test]
fn an_archive_is_written_here() {
    let plugin = Plugin::new(&pods());
    let called = plugin.exec(&["bundle", "x.tar.gz", "--node", "n1"], 0);
    assert_eq!(called, format!("{NAMESPACE} exec controller-a --container controller -- perouter bundle -"));
    assert_eq!(fs::read_to_string(plugin.path("x.tar.gz")).unwrap(), "output of controller-a\n");
    assert_eq!(fs::metadata(plugin.path("x.tar.gz")).unwrap().permissions().mode() & 0o777, 0o600);
    let ran = plugin.run(&["bundle", "--all-nodes"]);
    let files: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("perouter-bundle-n")).collect();
    assert_eq!((ran.status, files.len()), (0, 2), "{ran:?}");
    assert_eq!(fs::read_to_string(plugin.path(files[1])).unwrap(), "output of router-b\n");
    assert_eq!(plugin.run(&["bundle", "-", "--node", "n1"]).out, "output of controller-a\n");
    // An archive that is not complete is none.
    plugin.exits("controller-a", 2);
    assert_eq!(plugin.run(&["bundle", "y.tar.gz", "--node", "n1"]).status, 2);
    let left = fs::read_dir(plugin.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with("y.tar.gz")));
    fs::create_dir(plugin.path("folder")).unwrap();
    let message = "folder is a directory: set FILE to the name of the archive";
    plugin.fails(&["bundle", "folder", "--node", "n1"], message);
    plugin
        .fails(&["bundle", "x.tar.gz", "--all-nodes"], "bundle --all-nodes takes no FILE: it writes one for each node");
}
