//! Commands of README and book that need a node: blocks with `<!-- lab -->`, in the state of the demo.

#[path = "../docs/markdown.rs"]
#[allow(dead_code, reason = "the checks of tests/docs.rs use the rest")]
mod markdown;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fixture::{Fixture, SETTLE, until_true};
use markdown::Page;

fn pages(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            pages(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "md") {
        found.push(path.to_owned());
    }
}

/// No condition calls a session down that is listed as established: it has just been established.
fn assert_no_contradiction(fixture: &Fixture) {
    let shown = fixture.routers[0].perouter(&["status", "-o", "json"]).stdout;
    let status: Value = serde_json::from_str(&shown).unwrap();
    let conditions = status["conditions"].to_string();
    let sessions = status["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 3, "{shown}");
    for session in sessions.iter().filter(|session| session["state"] == "Established") {
        let is_down = format!("session with {} is down", session["peer"].as_str().unwrap());
        assert!(!conditions.contains(&is_down), "{shown}");
    }
}

#[test]
fn the_commands_of_the_documentation_work_on_a_node() {
    let Some(mut fixture) = Fixture::start("docs", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    until_true("the routes of the fabric", || {
        fixture.routers[0].perouter(&["trace", "192.168.20.2", "--vrf", "red"]).code == Some(0)
    });
    assert_no_contradiction(&fixture);
    until_true("a router that is well", || fixture.routers[0].perouter(&["status"]).success());
    let node = &fixture.router().node;
    let programs = Path::new(env!("CARGO_BIN_EXE_perouter")).parent().unwrap();
    let path = format!("PATH={}:{}", programs.display(), std::env::var("PATH").unwrap());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md")];
    pages(&root.join("docs"), &mut files);
    let (mut problems, mut count) = (Vec::new(), 0);
    for file in files {
        for block in Page::read(&fs::read_to_string(&file).unwrap()).blocks {
            let Some(status) = block.exit_status("lab") else { continue };
            for shown in block.shown() {
                count += 1;
                let output = node.run_for(SETTLE, &["env", &path, "bash", "-c", &shown.command]).unwrap();
                if output.code != Some(status) || output.stdout.is_empty() {
                    problems.push(format!("{}:{}: {}: {output:?}", file.display(), block.line, shown.command));
                }
            }
        }
    }
    assert!(count > 5, "{count}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
