//! Cases of the directory source: `tests/source/<case>/` is read as a directory of objects, and its `expected.txt` lists the
//! accepted objects and the rejections. `PEROUTER_UPDATE=1` rewrites the expected files.

#![allow(clippy::unwrap_used, reason = "a test file")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use perouter::kind::Kind;
use perouter::snapshot::{NodeIdentity, Snapshot};
use perouter::source;

/// Paths are relative to the package, which is where cargo runs tests.
fn sub_directories(dir: &str) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    dirs
}

fn read(dir: &Path) -> Snapshot {
    source::read(dir, &dir.join("secrets"), &NodeIdentity::default()).unwrap()
}

fn summary(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for (key, object) in &snapshot.objects {
        let spec = object.spec.to_json().unwrap();
        let field = ["vni", "asn"].into_iter().find(|field| spec.get(field).is_some()).unwrap();
        writeln!(text, "accepted: {key} {field} {}", spec[field]).unwrap();
    }
    for rejection in &snapshot.rejected {
        writeln!(text, "{rejection}").unwrap();
    }
    text
}

#[test]
fn every_case_is_read_as_expected() {
    let update = std::env::var_os("PEROUTER_UPDATE").is_some_and(|value| value == "1");
    let mut differing = Vec::new();
    let cases = sub_directories("tests/source");
    assert!(!cases.is_empty());
    for case in cases {
        let actual = summary(&read(&case));
        let file = case.join("expected.txt");
        if update {
            fs::write(&file, &actual).unwrap();
        }
        let wanted = fs::read_to_string(&file).unwrap_or_default();
        if actual != wanted {
            let diff =
                similar::TextDiff::from_lines(&wanted, &actual).unified_diff().header("expected", "actual").to_string();
            differing.push(format!("{}\n{diff}", case.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_example_is_accepted_as_a_whole() {
    let examples = sub_directories("examples");
    assert!(!examples.is_empty());
    for example in examples {
        let snapshot = read(&example);
        assert_eq!(snapshot.rejected, [], "{}", example.display());
        for kind in [Kind::Underlay, Kind::L3VNI] {
            assert!(snapshot.of_kind(kind).count() > 0, "{}: {kind}", example.display());
        }
    }
}
