//! The image of the Dockerfile: what is in it, its size, and that the router runs in it as `deploy/base/router.yaml` says. In:
//! `PEROUTER_IMAGE`, which `make docker-build` builds, and a Docker engine. Skipped with the reason where there is none; an
//! error where `CI=true`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test file")]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Bytes of the image, all layers.
const BUDGET: u64 = 180_000_000;
/// The same without perouter, which is larger in an image for tests (`hack/docker-build.sh IMAGE PROGRAM`).
const BUDGET_OF_THE_REST: u64 = 150_000_000;
/// What zebra says of the kernel: links without a speed, such as lo; no segment routing and no MPLS, neither of which perouter uses.
const OF_THE_KERNEL: [&str; 3] = [
    "Extended Error: failed to retrieve link settings",
    "generic-netlink-cmd (NS 0) error: Operation not supported",
    "Disabling MPLS support (no kernel support)",
];
const PROGRAM: &str = "usr/bin/perouter";

/// Runs a program; its output and its errors, and whether it succeeded.
fn run(program: &str, words: &[&str]) -> (bool, String, String) {
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// Runs `docker`; its output.
fn docker(words: &[&str]) -> String {
    let (success, output, errors) = run("docker", words);
    assert!(success, "docker {words:?}: {errors}");
    output
}

/// The image under test, if one is named.
fn image() -> Option<String> {
    if let Ok(image) = std::env::var("PEROUTER_IMAGE") {
        return Some(image);
    }
    let reason = "PEROUTER_IMAGE names no image: hack/test.sh docker builds one";
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "tests of the image cannot run: {reason}");
    eprintln!("SKIPPED: {reason}");
    None
}

/// A file of the image: `tar --list --verbose --numeric-owner`.
struct File {
    mode: String,
    owner: String,
    size: u64,
    path: String,
}

fn files(image: &str) -> Vec<File> {
    let container = docker(&["create", "--network", "none", image]);
    let script = format!("docker export {container} | tar --list --verbose --numeric-owner");
    let (success, listing, errors) = run("sh", &["-c", &script]);
    docker(&["rm", &container]);
    assert!(success, "{errors}");
    let file = |line: &str| {
        // MODE OWNER/GROUP SIZE DATE TIME PATH [-> TARGET]
        let mut words = line.split_whitespace();
        let (mode, owner) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        // That of a device is its numbers.
        let size = words.next().unwrap().parse().unwrap_or_default();
        let path = words.nth(2).unwrap().to_owned();
        File { mode, owner, size, path }
    };
    listing.lines().map(file).collect()
}

#[test]
fn it_is_small() {
    let Some(image) = image() else { return };
    let size: u64 = docker(&["image", "inspect", "--format", "{{.Size}}", &image]).parse().unwrap();
    let program = files(&image).iter().find(|file| file.path == PROGRAM).unwrap().size;
    println!("{image}: {size} bytes, of which perouter {program}");
    assert!(size - program <= BUDGET_OF_THE_REST, "{size} bytes, of which perouter {program}");
    let unoptimized =
        docker(&["image", "inspect", "--format", "{{index .Config.Labels \"perouter.test.unoptimized\"}}", &image]);
    if unoptimized == "true" {
        eprintln!("the size of perouter is not tested: it is not optimized in this image");
    } else {
        assert!(size <= BUDGET, "{size} bytes; at most {BUDGET}");
    }
}

#[test]
fn its_files_are_roots_and_none_is_setuid() {
    let Some(image) = image() else { return };
    let files = files(&image);
    assert!(files.iter().any(|file| file.path == PROGRAM), "the listing has no perouter");
    let is_frrs =
        |path: &str| ["etc/frr/", "var/lib/frr/", "var/log/frr/", "run/frr/"].iter().any(|dir| path.starts_with(dir));
    let mut found = Vec::new();
    for file in &files {
        let path = &file.path;
        // Not the scripts for gdb that come with libstdc++.
        if ["usr/bin/python", "usr/lib/python", "usr/local/bin/python"].iter().any(|start| path.starts_with(start)) {
            found.push(format!("Python: {path}"));
        }
        if path.ends_with("_history") || path.ends_with("history") && path.starts_with("root/") {
            found.push(format!("history of a shell: {path}"));
        }
        if !file.mode.starts_with('d') && file.mode.contains(['s', 'S']) {
            found.push(format!("setuid or setgid: {} {path}", file.mode));
        }
        if !file.owner.starts_with("0/") && !is_frrs(path) {
            found.push(format!("not root's: {} {path}", file.owner));
        }
        // A directory that others may write to is a temporary one.
        if !file.mode.starts_with('l')
            && file.mode.chars().nth(8) == Some('w')
            && !file.mode.ends_with('t')
            && !path.starts_with("dev/")
        {
            found.push(format!("writable for all: {} {path}", file.mode));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn perouter_and_frr_run_in_it() {
    let Some(image) = image() else { return };
    let rootless = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--user", "65534:65534"];
    let version = docker(&[&rootless[..], &[&image, "--version"]].concat());
    assert_eq!(version, format!("perouter {}", env!("CARGO_PKG_VERSION")));
    let zebra = docker(&[&rootless[..], &["--entrypoint", "/usr/lib/frr/zebra", &image, "--version"]].concat());
    assert!(zebra.starts_with("zebra version 10.7"), "{zebra}");
}

/// Removes the container and its mounts at the end of a test.
struct Container {
    id: String,
    directory: tempfile::TempDir,
}

impl Drop for Container {
    fn drop(&mut self) {
        run("docker", &["rm", "--force", &self.id]);
        for name in ["run", "netns"] {
            let path = self.directory.path().join(name);
            // Also what the router mounted below it.
            run("umount", &["--recursive", path.to_str().unwrap()]);
        }
    }
}

/// Starts the container of the router as the manifest says. Two things differ: `CAP_SYS_RESOURCE` is left out where the
/// machine itself does not have it, and `privileged` is replaced by the capabilities that `setpriv` keeps.
fn start(image: &str) -> Container {
    let manifest: Value = serde_saphyr::from_str(&std::fs::read_to_string("deploy/base/router.yaml").unwrap()).unwrap();
    let container = &manifest["spec"]["template"]["spec"]["containers"][0];
    let strings = |field: &str| -> Vec<String> { serde_json::from_value(container[field].clone()).unwrap() };
    let mut command = strings("command");
    let has_sys_resource = run(
        "sh",
        &["-c", "capsh --has-b=cap_sys_resource 2>/dev/null || setpriv --dump | grep -q 'bounding.*sys_resource'"],
    )
    .0;
    let bounding = command.iter_mut().find(|word| word.starts_with("--bounding-set=")).unwrap();
    if !has_sys_resource {
        eprintln!("this machine has no CAP_SYS_RESOURCE: the container is started without it");
        *bounding = bounding.replace(",+sys_resource", "");
    }
    let capabilities: Vec<String> =
        bounding.split(",+").skip(1).map(|name| format!("--cap-add={}", name.to_uppercase())).collect();
    assert!(capabilities.len() > 5, "{bounding}");

    let directory = tempfile::tempdir().unwrap();
    let mut words: Vec<String> =
        ["run", "--detach", "--network", "none", "--cap-drop", "ALL"].map(str::to_owned).to_vec();
    words.extend(capabilities);
    if container["securityContext"]["readOnlyRootFilesystem"] == true {
        words.push("--read-only".to_owned());
    }
    for mount in container["volumeMounts"].as_array().unwrap() {
        assert_eq!(mount["mountPropagation"], "Bidirectional");
        let source = directory.path().join(mount["name"].as_str().unwrap());
        let path = source.to_str().unwrap();
        std::fs::create_dir(&source).unwrap();
        let script = format!("mount --bind {path} {path} && mount --make-rshared {path}");
        assert!(run("sh", &["-c", &script]).0, "{script}");
        words.push(format!("--volume={path}:{}:rshared", mount["mountPath"].as_str().unwrap()));
    }
    for variable in container["env"].as_array().unwrap() {
        let (name, value) = (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
        // Without VRF devices in the kernel of this machine, `auto` has to be decided here.
        let value = if name == "PEROUTER_VRF_MODE" { "netns" } else { value };
        words.push(format!("--env={name}={value}"));
    }
    words.push(format!("--entrypoint={}", command[0]));
    words.push(image.to_owned());
    words.extend(command.drain(1..));
    words.extend(strings("args"));
    let id = docker(&words.iter().map(String::as_str).collect::<Vec<_>>());
    Container { id, directory }
}

/// The status and the body of a request to the router in its network namespace.
fn get(pid: &str, path: &str) -> Option<String> {
    let url = format!("http://127.0.0.1:9477{path}");
    let (success, body, _) = run(
        "nsenter",
        &["--net", "--target", pid, "curl", "--silent", "--fail", "--max-time", "5", "--noproxy", "*", &url],
    );
    success.then_some(body)
}

#[test]
fn the_router_runs_as_the_manifest_says() {
    let Some(image) = image() else { return };
    let container = start(&image);
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &container.id]);
    let begun = Instant::now();
    while get(&pid, "/readyz").is_none() {
        let logs = run("docker", &["logs", &container.id]);
        assert!(begun.elapsed() < Duration::from_secs(30), "it is not ready: {} {}", logs.1, logs.2);
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("ready after {} ms", begun.elapsed().as_millis());
    let top = docker(&["top", &container.id, "-o", "pid,user,comm"]);
    let daemons: BTreeSet<&str> = top.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    for daemon in ["mgmtd", "zebra", "bgpd", "bfdd", "staticd"] {
        assert!(daemons.contains(daemon), "{daemon} does not run:\n{top}");
    }
    // What it and FRR's daemons log is JSON, and none of them warns of the image or the configuration.
    let (_, output, errors) = run("docker", &["logs", &container.id]);
    let is_warning = |line: &&str| {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = record["fields"]["message"].as_str().unwrap_or_default();
        let is_known = record["target"] == "frr::zebra" && OF_THE_KERNEL.iter().any(|known| text.contains(known));
        ["WARN", "ERROR"].contains(&record["level"].as_str().unwrap_or_default()) && !is_known
    };
    let warnings: Vec<&str> = output.lines().chain(errors.lines()).filter(is_warning).collect();
    assert_eq!(warnings, Vec::<&str>::new());
    docker(&["stop", "--time", "10", &container.id]);
    let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", &container.id]);
    assert_eq!(code, "0", "exit status after SIGTERM");
}
