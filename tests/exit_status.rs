//! The contract of the command line, over every subcommand: exit status, and an output that somebody closes. Needs neither root nor a
//! router. `docs/operations/checks.md` has the table.

#![allow(clippy::unwrap_used, reason = "a test file")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::pipe;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use clap::CommandFactory;
use perouter::cli::Cli;

/// A subcommand, its arguments and its exit status.
type Case = (&'static str, Option<(Vec<String>, i32)>);

/// Arguments that end without a router, and the exit status; `None` for the commands that run or remove one, of which only wrong
/// usage is tested here.
fn cases(run_dir: &str) -> Vec<Case> {
    let of = |words: &str, status: i32| Some((words.split(' ').map(str::to_owned).collect(), status));
    let without_router =
        |words: &str, status| of(&format!("{words} --run-dir {run_dir} --netns {run_dir}/netns"), status);
    vec![
        ("run", None),
        ("router", None),
        ("controller", None),
        ("cleanup", None),
        (
            "plan",
            without_router("--config-dir examples/metallb --node-index 0 --vrf-mode netns --frr-dir /dev/null/x", 3),
        ),
        ("validate", of("examples/metallb", 0)),
        ("status", without_router("-o json", 2)),
        ("check", without_router("-o json", 2)),
        ("sessions", without_router("-o json", 2)),
        ("routes", without_router("red", 2)),
        ("macs", without_router("110", 2)),
        ("trace", without_router("172.30.0.10", 2)),
        // An address of no link (RFC 5737).
        ("ui", without_router("--address 192.0.2.1:9478", 2)),
        ("bundle", without_router("/dev/null/x.tar.gz", 2)),
        ("crds", of("--out-dir /dev/null/x", 2)),
        ("man", of("/dev/null/x", 2)),
        ("completions", of("bash", 0)),
    ]
}

fn perouter(words: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perouter"));
    command.args(words).current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).stdin(Stdio::null());
    command
}

fn words(command: &str, arguments: &[String]) -> Vec<String> {
    std::iter::once(command.to_owned()).chain(arguments.iter().cloned()).collect()
}

#[track_caller]
fn assert_no_panic(what: &str, output: &Output) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code <= 3), "{what}: {}: {error}", output.status);
    assert!(!error.contains("panicked"), "{what}: {error}");
}

#[test]
fn every_subcommand_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases(folder.path().to_str().unwrap());
    let cli = Cli::command();
    let known: BTreeSet<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
    assert_eq!(cases.iter().map(|(command, _)| *command).collect::<BTreeSet<_>>(), known);
    for (command, case) in &cases {
        let wrong = perouter(&words(command, &["--no-such-option".to_owned()])).output().unwrap();
        assert_eq!(wrong.status.code(), Some(2), "{command}: {wrong:?}");
        assert!(wrong.stdout.is_empty() && !wrong.stderr.is_empty(), "{command}: {wrong:?}");
        let Some((arguments, status)) = case else { continue };
        let output = perouter(&words(command, arguments)).output().unwrap();
        assert_no_panic(command, &output);
        assert_eq!(output.status.code(), Some(*status), "{command}: {output:?}");
        // Nothing is printed as if there were nothing.
        assert!(*status == 0 || !output.stderr.is_empty() || *command == "plan", "{command}: {output:?}");
    }
}

/// An option that would be of no effect.
#[test]
fn the_page_of_a_router_has_no_kubeconfig() {
    let ui = |words: &[&str]| {
        let all = ["ui", "--address", "192.0.2.1:9478"].iter().chain(words).map(|word| (*word).to_owned());
        perouter(&all.collect::<Vec<_>>())
    };
    let named = ui(&["--kubeconfig", "/nonexistent"]).output().unwrap();
    let error = String::from_utf8_lossy(&named.stderr);
    assert!(named.status.code() == Some(2) && error.contains("--kubeconfig is for --source kubernetes"), "{named:?}");
    // The environment may have it for other commands.
    let in_environment = ui(&[]).env("PEROUTER_KUBECONFIG", "/nonexistent").output().unwrap();
    let error = String::from_utf8_lossy(&in_environment.stderr);
    assert!(error.contains("listen on"), "{in_environment:?}");
}

/// The commands that show something share their options.
#[test]
fn every_command_that_shows_something_has_the_same_options() {
    let cli = Cli::command();
    let showing = ["plan", "status", "check", "sessions", "routes", "macs", "trace"];
    for name in showing {
        let command = cli.find_subcommand(name).unwrap();
        let formats = command.get_arguments().find(|argument| argument.get_short() == Some('o')).unwrap();
        let formats: Vec<String> =
            formats.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        assert_eq!(formats, ["table", "wide", "json", "yaml"], "{name}");
        let has = |option: &str| command.get_arguments().any(|argument| argument.get_long() == Some(option));
        assert!(has("no-headers") && has("color"), "{name}");
        // A plan is of the objects as they are.
        assert_eq!(has("watch"), name != "plan", "{name}");
    }
}

fn plan_of(folder: &Path, arguments: &[&str]) -> Output {
    let run_dir = folder.join("run").display().to_string();
    let config = folder.join("objects").display().to_string();
    let netns = format!("{run_dir}/netns");
    let mut words =
        vec!["plan", "--config-dir", &config, "--run-dir", &run_dir, "--netns", &netns, "--node-index", "0"];
    words.extend(["--vrf-mode", "netns", "--frr-dir", "/dev/null/x"]);
    words.extend(arguments);
    perouter(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).output().unwrap()
}

const SELECTED: &str = "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: red, namespace: ns}\n\
    spec: {asn: 64514, vni: 100, localcidr: {ipv4: 192.169.10.0/24}, nodeSelector: {matchLabels: {rack: a}}}\n";

/// Exit status, form of the documents, and what a plan says of objects that are not for the node.
#[test]
fn a_plan_shows_whether_there_is_something_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let objects = folder.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    let nothing = plan_of(folder.path(), &[]);
    assert_eq!(nothing.status.code(), Some(0), "{nothing:?}");
    std::fs::write(objects.join("red.yaml"), SELECTED).unwrap();
    let unselected = plan_of(folder.path(), &["--node-label", "rack=b"]);
    assert_eq!(unselected.status.code(), Some(0), "{unselected:?}");
    let error = String::from_utf8_lossy(&unselected.stderr);
    assert!(error.contains("no object selects this node"), "{error}");
    let rejected = plan_of(folder.path(), &["--node-label", "rack=a", "-o", "json"]);
    assert_eq!(rejected.status.code(), Some(1), "{rejected:?}");
    let document: serde_json::Value = serde_json::from_slice(&rejected.stdout).unwrap();
    assert_eq!(document["apiVersion"], "openpe.openperouter.github.io/v1alpha1");
    assert_eq!((&document["kind"], document["rejected"].as_array().unwrap().len()), (&"PlanReport".into(), 1));
    let changes = |arguments: &[&str]| {
        let base = ["plan", "--config-dir", "examples/metallb", "--node-index", "0", "--vrf-mode", "netns"];
        let run_dir = folder.path().display().to_string();
        let netns = format!("{run_dir}/netns");
        let more = ["--frr-dir", "/dev/null/x", "--run-dir", &run_dir, "--netns", &netns];
        let words: Vec<String> = base.iter().chain(&more).chain(arguments).map(|word| (*word).to_owned()).collect();
        let output = perouter(&words).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let by_object = changes(&[]);
    assert!(by_object.contains("\nL3VNI openperouter-system/red: "), "{by_object}");
    let run_dir = folder.path().join("run");
    std::fs::create_dir_all(&run_dir).unwrap();
    std::fs::write(run_dir.join("node-index"), "3\n").unwrap();
    let other = plan_of(folder.path(), &[]);
    let error = String::from_utf8_lossy(&other.stderr);
    assert!(
        error.contains("has index 3, and this plan is for index 0") && error.contains("--change-node-index"),
        "{error}"
    );
    assert!(changes(&["-o", "wide"]).contains("\nstop here unless the default BGP instance is in place\n"));
}

/// Without its objects there is no plan.
#[test]
fn a_cluster_that_cannot_be_read_has_no_plan() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let of_cluster = |error: &str| {
        let output = plan_of(
            folder.path(),
            &["--source", "kubernetes", "--node-name", "n1", "--kubeconfig", kubeconfig.to_str().unwrap()],
        );
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(error), "{output:?}");
    };
    of_cluster("read kubeconfig");
    let nobody = "{clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], contexts: [{name: c, context: {cluster: c, user: u}}], \
        users: [{name: u}], current-context: c}";
    std::fs::write(&kubeconfig, nobody).unwrap();
    of_cluster("Underlay cannot be read from the API server");
}

/// The reason in a Pod is its service account, and elsewhere the kubeconfig.
#[test]
fn without_an_api_server_the_reason_is_that_of_the_place() {
    let words = ["plan", "--source", "kubernetes", "--node-name", "n1", "--vrf-mode", "netns"].map(str::to_owned);
    let error = |in_pod: Option<&str>| {
        let mut command = perouter(&words);
        command.env_remove("KUBECONFIG").env("HOME", "/dev/null/x").env_remove("KUBERNETES_SERVICE_HOST");
        command.envs(in_pod.map(|host| ("KUBERNETES_SERVICE_HOST", host)));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (on_host, in_pod) = (error(None), error(Some("192.0.2.1")));
    assert!(on_host.contains("kubeconfig") && !on_host.contains("service account"), "{on_host}");
    assert!(in_pod.contains("give the Pod a service account"), "{in_pod}");
}

/// `run` and `controller` check what they need before they start anything. There is no FRR that they could start.
#[test]
fn nothing_is_started_without_index_or_directory() {
    let folder = tempfile::tempdir().unwrap();
    let run_dir = folder.path().join("run").display().to_string();
    let netns = format!("{run_dir}/netns");
    let (objects, none) = (folder.path().display().to_string(), folder.path().join("none").display().to_string());
    for command in ["run", "controller"] {
        for (arguments, error) in [
            (["--config-dir", &objects, "--node-name", "n1"], "no node index"),
            (["--config-dir", &none, "--node-index", "0"], "none does not exist"),
        ] {
            let base = [command, "--run-dir", &run_dir, "--netns", &netns, "--vrf-mode", "netns"];
            let words = base.iter().chain(&["--frr-dir", "/dev/null/x"]).chain(&arguments);
            let words: Vec<String> = words.map(|word| (*word).to_owned()).collect();
            let output = perouter(&words).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains(error), "{output:?}");
            assert!(!Path::new(&run_dir).exists(), "{words:?} has made {run_dir}");
        }
    }
}

fn validated(arguments: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let words: Vec<String> = ["validate"].iter().chain(arguments).map(|word| (*word).to_owned()).collect();
    let mut child =
        perouter(&words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const HEADER: &str =
    "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: Underlay\nmetadata: {name: u, namespace: ns}\n";
const SPEC: &str = "spec:\n  asn: 64514\n  vtepcidr: 100.65.0.0/24\n  nics: [eth1]\n  neighbors:\n  - asn: 64512\n    address: 192.168.11.2\n    \
    passwordSecret: {name: leaf, key: red}\n";

#[test]
fn validate_reads_standard_input_and_uses_secrets_in_it() {
    let (code, _, error) = validated(&["-"], &format!("{HEADER}{SPEC}"));
    assert_eq!(code, Some(1), "no password: {error}");
    let (code, out, error) = validated(&["-", "--ignore-secrets"], &format!("{HEADER}{SPEC}"));
    assert_eq!((code, out.as_str()), (Some(0), "-: 1 object, 0 rejected\n"), "{error}");
    let secret =
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: leaf, namespace: ns}\nstringData: {red: hunter2}\n";
    let (code, out, error) = validated(&["-"], &format!("{HEADER}{SPEC}{secret}"));
    assert_eq!((code, out.as_str(), error.as_str()), (Some(0), "-: 1 object, 0 rejected\n", ""));
    let (code, out, error) = validated(&["-"], "");
    assert_eq!((code, out.as_str()), (Some(0), "-: 0 objects, 0 rejected\n"), "{error}");
    assert!(error.contains("the file is empty"), "{error}");
}

/// What a Secret in the input lacks is said where the object names it.
#[test]
fn validate_says_why_a_secret_in_the_input_is_of_no_use() {
    let secret = |metadata: &str, data: &str| {
        format!("{HEADER}{SPEC}---\napiVersion: v1\nkind: Secret\nmetadata: {{{metadata}}}\n{data}\n")
    };
    for (metadata, data, message) in [
        (
            "name: leaf, namespace: ns",
            "stringData: {blue: hunter2}",
            "Secret leaf in the input has the key blue, and not `red`",
        ),
        (
            "name: leaf, namespace: other",
            "stringData: {red: hunter2}",
            "Secret leaf in the input is in namespace other, and the object in ns",
        ),
        ("name: leaf, namespace: ns", "data: {red: hunter2!}", "Secret leaf: red is not base64"),
    ] {
        let (code, _, error) = validated(&["-"], &secret(metadata, data));
        assert_eq!(code, Some(1), "{error}");
        let words = format!("error: Underlay ns/u: spec.neighbors[0].passwordSecret: {message}");
        assert!(error.contains(&words) && error.matches("leaf").count() == 1, "{error}");
        assert!(error.contains("<stdin>:11:") && error.contains("11 |     passwordSecret: …"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

/// Standard input can be read once, and what is no file is named.
#[test]
fn validate_rejects_what_it_cannot_read() {
    let (code, out, error) = validated(&["-", "-"], &format!("{HEADER}{SPEC}"));
    assert_eq!((code, out.as_str()), (Some(2), ""), "{error}");
    assert!(error.contains("`-` is named 2 times"), "{error}");
    let (code, _, error) = validated(&["/dev/null"], "");
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("/dev/null is a character device"), "{error}");
}

/// One that is misspelt is rejected, and not also skipped.
#[test]
fn validate_counts_a_document_once() {
    let text = "apiVersion: openpe.openperouter.io/v1alpha1\nkind: L3VNI\nmetadata: {name: red}\n";
    let (code, out, error) = validated(&["-"], text);
    assert_eq!((code, out.as_str()), (Some(1), "-: 1 object, 1 rejected\n"), "{error}");
    assert!(error.contains("has no kind L3VNI") && !error.contains("skipped"), "{error}");
}

/// In no form: lines of a Secret, of a file that is not YAML and has one, and values of fields that do not exist.
#[test]
fn validate_shows_no_password() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: leaf, namespace: ns}\n";
    let object = format!("{HEADER}{SPEC}");
    let unknown = object.replace("  asn: 64514\n", "  asn: 64514\n  passwd: hunter2\n");
    let flow = format!("{HEADER}spec: {{asn: 0, passwd: hunter2}}\n");
    let texts = [
        format!("{secret}stringData:\n  bgp: hunter2: x\n"),
        format!("{secret}data: {{bgp: hunter2: x}}\n"),
        format!("{secret}stringData: {{bgp: !hunter2 x}}\n"),
        format!("{object}---\n{secret}data:\n  bgp: hunter2\n bgp2: hunter2\n"),
        "data: {bgp: hunter2}\nkind: Secret\n".to_owned(),
        "data: {bgp: hunter2}\nkind: Secrets\napiVersion: openpe.openperouter.github.io/v1alpha1\n".to_owned(),
        unknown.clone(),
        flow,
    ];
    for text in &texts {
        for format in ["table", "json", "yaml", "sarif", "github"] {
            let (code, out, error) = validated(&["-", "--ignore-secrets", "-o", format], text);
            assert_eq!(code, Some(1), "{format}: {text}");
            assert!(!out.contains("hunter2") && !error.contains("hunter2"), "{format}: {text}: {out}{error}");
        }
    }
    let (_, _, error) = validated(&["-", "--ignore-secrets"], &unknown);
    assert!(error.contains("6 |   passwd: …\n"), "{error}");
}

#[test]
fn validate_shows_the_line_and_has_forms_for_programs() {
    let bad = format!("{HEADER}{}", SPEC.replace("64514", "-1"));
    let (code, _, error) = validated(&["-", "--ignore-secrets"], &bad);
    assert_eq!(code, Some(1), "{error}");
    for words in ["Underlay ns/u: spec.asn: -1 is less than", "<stdin>:5:8", "5 |   asn: -1", "^^"] {
        assert!(error.contains(words), "no {words:?} in\n{error}");
    }
    let (_, json, _) = validated(&["-", "--ignore-secrets", "-o", "json"], &bad);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["kind"], &json["objects"], &json["rejected"]),
        (&"ValidationReport".into(), &1.into(), &1.into())
    );
    assert_eq!(json["diagnostics"][0]["location"], serde_json::json!({"file": "<stdin>", "line": 5, "column": 8}));
    let (_, sarif, _) = validated(&["-", "--ignore-secrets", "-o", "sarif"], &bad);
    let sarif: serde_json::Value = serde_json::from_str(&sarif).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "Invalid");
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region, &serde_json::json!({"startLine": 5, "startColumn": 8}));
    let (_, github, _) = validated(&["-", "--ignore-secrets", "-o", "github"], &bad);
    assert!(github.starts_with("::error file=<stdin>,line=5,col=8::Underlay ns/u: spec.asn: "), "{github}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("README.txt"), "x").unwrap();
    std::fs::write(folder.path().join("other.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n").unwrap();
    let (code, _, error) = validated(&[folder.path().to_str().unwrap()], "");
    assert_eq!(code, Some(0), "{error}");
    for words in ["1 document skipped: v1 ConfigMap is no object of perouter", "README.txt"] {
        assert!(error.contains(words), "no {words:?} in\n{error}");
    }
    let none = folder.path().join("none.yaml").display().to_string();
    assert_eq!(validated(&[&none], "").0, Some(2));
}

/// States have colours where that is wanted, and only there.
#[test]
fn colors_are_as_chosen() {
    let folder = tempfile::tempdir().unwrap();
    // A node whose router is gone has a status all the same.
    let run_dir = folder.path().display().to_string();
    let status = serde_json::json!({
        "node": "n1", "index": 0, "vrfMode": "netns", "frrVersion": "10.7", "observedTime": 1_795_876_674, "ready": true,
        "resources": [], "vnis": {}, "sessions": [], "foreignLines": [],
        "lastChange": {"kernelOps": 0, "frrLines": 0, "rebuilt": [], "durationMs": 0},
    });
    std::fs::write(folder.path().join("status.json"), status.to_string()).unwrap();
    let shown = |arguments: &[&str]| {
        let base = ["status", "--run-dir", &run_dir];
        let words: Vec<String> = base.iter().chain(arguments).map(|word| (*word).to_owned()).collect();
        let output = perouter(&words).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "no controller runs, and FRR does not answer: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(shown(&["--color", "always"]).contains("\u{1b}[31mUnknown\u{1b}[0m"));
    for plain in [&[][..], &["--color", "never"], &["-o", "wide"]] {
        let text = shown(plain);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{2061}'), "{text:?}");
        assert!(text.contains("no controller runs on this node") && text.contains("FRR does not answer"), "{text}");
    }
    assert!(shown(&[]).starts_with("NODE ") && shown(&["--no-headers"]).starts_with("n1 "));
    let json: serde_json::Value = serde_json::from_str(&shown(&["-o", "json"])).unwrap();
    assert_eq!((&json["kind"], &json["observedTime"]), (&"NodeStatus".into(), &"2026-11-28T14:37:54Z".into()));
    let states = ["ready", "frrAnswers", "controllerRuns"].map(|field| json[field].as_bool());
    assert_eq!(states, [None, Some(false), Some(false)]);
    assert_eq!(json["conditions"][0]["reason"], "NoUnderlay");
    assert!(shown(&["-o", "yaml"]).contains("apiVersion: openpe.openperouter.github.io/v1alpha1\n"));
}

/// As `perouter … | head -0` does it.
/// What could not be written was not shown.
#[test]
fn an_output_that_is_full_is_an_error() {
    for line in ["crds", "completions bash", "validate examples/metallb", "validate examples/metallb -o json"] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = perouter(&words).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("write standard output"), "{line}: {output:?}");
    }
}

#[test]
fn an_output_that_is_closed_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let run_dir = folder.path().to_str().unwrap();
    let help = Cli::command()
        .get_subcommands()
        .map(|command| vec![command.get_name().to_owned(), "--help".to_owned()])
        .collect::<Vec<_>>();
    let runs = cases(run_dir).into_iter().filter_map(|(command, case)| Some(words(command, &case?.0)));
    for arguments in runs.chain(help).chain([vec!["crds".to_owned()], vec!["--help".to_owned()]]) {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = perouter(&arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_no_panic(&arguments.join(" "), &output);
    }
}

const STATUS: &str = r#"{"node": "n", "index": 0, "vrfMode": "vrf", "frrVersion": "10.7.1", "observedTime": 1, "ready": true, "resources": [],
    "vnis": {"100": {"vrf": "red", "up": true, "routerMac": null, "svi": "", "inBgp": true, "rd": "1:1", "import": [], "export": []},
        "110": {"type": "L2", "vrf": "red", "up": true, "routerMac": null, "svi": "", "inBgp": true, "rd": "1:2", "import": [], "export": []}},
    "sessions": [], "foreignLines": [], "lastChange": {"kernelOps": 0, "frrLines": 0, "rebuilt": [], "durationMs": 0}}"#;

/// With the script in bash, as a person presses Tab.
#[test]
fn a_shell_completes_the_vrfs_and_l2vnis_of_the_node() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("status.json"), STATUS).unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_perouter")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let script = format!(
            "source <(perouter completions bash); COMP_WORDS=({}); COMP_CWORD={}; COMP_TYPE=9; \
            _clap_complete_perouter perouter \"${{COMP_WORDS[-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words.len() - 1
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).env("PATH", &path).env("PEROUTER_RUN_DIR", folder.path());
        let output = bash.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap().split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("perouter routes r"), ["red"]);
    assert_eq!(complete("perouter sessions de"), ["default"]);
    assert_eq!(complete("perouter macs 1"), ["110"]);
    assert_eq!(complete("perouter trace 172.30.0.10 --vrf "), ["red"]);
    assert_eq!(complete("perouter sess"), ["sessions"]);
    assert_eq!(complete("perouter routes --run-dir /nonexistent r"), [""; 0]);
    assert_eq!(complete("perouter routes --run-dir=/nonexistent r"), [""; 0]);
    // A word that is not UTF-8.
    let mut answer = perouter(&[]);
    answer.args(["--", "perouter", "trace"]).arg(OsStr::from_bytes(b"\xe9")).args(["--vrf", ""]);
    answer.env("PEROUTER_RUN_DIR", folder.path()).env("PEROUTER_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "4");
    let output = answer.output().unwrap();
    assert_no_panic("completion", &output);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "red", "{output:?}");
}
