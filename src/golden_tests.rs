//! Cases as directories: `tests/golden/<case>/in.yaml` results in `plan.yaml` (node, kernel operations on an empty node,
//! rejections), `frr.conf` (FRR configuration, passwords masked) and `status.yaml` (resources). The first line of `in.yaml` may
//! be `# index: N`. `PEROUTER_UPDATE=1` rewrites the expected files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::frr::config::line::Line;
use crate::frr::release::FRR_8_4;
use crate::frr::show::live::Live;
use crate::frr::stanza::text::text;
use crate::kernel::model::KernelState;
use crate::kernel::model::NicFacts;
use crate::plan::{FabricAddresses, NodeFacts, Plan, plan};
use crate::scope::Scope;
use crate::snapshot::{NodeIdentity, Snapshot};
use crate::status::{fold, model::PassSummary};
use crate::types::VrfMode;

fn read_case(case: &Path) -> Snapshot {
    let text = fs::read_to_string(case.join("in.yaml")).unwrap();
    let index = text.lines().next().and_then(|line| line.strip_prefix("# index: ")).map_or(0, |n| n.parse().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("in.yaml"), &text).unwrap();
    let secrets = private_copy(&case.join("secrets"), scratch.path());
    let node = NodeIdentity { name: "node".into(), index, labels: [("rack".into(), "a".into())].into() };
    let mut snapshot = crate::source::read(scratch.path(), &secrets, &node).unwrap();
    let rejected = snapshot.rejected.iter_mut().filter_map(|rejection| rejection.location.as_mut());
    let objects = snapshot.objects.values_mut().filter_map(|object| object.location.as_mut());
    rejected.chain(objects).for_each(|location| location.file = "in.yaml".into());
    snapshot
}

/// A copy with mode 0600, which git does not store: a password file that everybody can read is rejected.
fn private_copy(secrets: &Path, scratch: &Path) -> PathBuf {
    let copy = scratch.join("secrets");
    for name in fs::read_dir(secrets).into_iter().flatten().map(|entry| entry.unwrap()) {
        fs::create_dir_all(copy.join(name.file_name())).unwrap();
        for key in fs::read_dir(name.path()).unwrap().map(|entry| entry.unwrap().path()) {
            let to = copy.join(name.file_name()).join(key.file_name().unwrap());
            fs::copy(&key, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    copy
}

fn plan_text(plan: &Plan) -> String {
    let kernel: Vec<_> =
        crate::kernel::diff(&plan.kernel, &KernelState::default()).iter().map(ToString::to_string).collect();
    let rejected: Vec<_> = plan.rejected.iter().map(ToString::to_string).collect();
    let notes: Vec<_> = plan.notes.iter().map(ToString::to_string).collect();
    let vrfs: BTreeMap<_, _> = plan
        .l3vnis()
        .into_iter()
        .map(|(vrf, vni)| (vrf.to_string(), format!("{vni} {}", plan.owner(&Scope::Vrf(vrf.clone())).unwrap())))
        .collect();
    let fabric = |fabric: &FabricAddresses| {
        let owner = plan.owner(&Scope::Underlay).unwrap();
        let vteps = fabric.vteps.values().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        format!("{owner}: VTEP {vteps}, router id {}", fabric.router_id)
    };
    let underlay = plan.fabric.as_ref().map(fabric);
    let value =
        serde_json::json!({"underlay": underlay, "vrfs": vrfs, "kernel": kernel, "rejected": rejected, "notes": notes});
    serde_saphyr::to_string(&value).unwrap()
}

fn frr_text(plan: &Plan) -> String {
    let mut out = String::new();
    for ((scope, daemon), text) in text(&plan.frr, &FRR_8_4).unwrap() {
        out.extend(["! ", &scope.to_string(), ": ", daemon.name(), "\n"]);
        for raw in text.lines() {
            let indent = raw.len() - raw.trim_start().len();
            out += format!("{:indent$}{}", "", Line::new(raw)).trim_end();
            out.push('\n');
        }
    }
    out
}

fn status_text(snapshot: &Snapshot, plan: &Plan) -> String {
    let status = fold(snapshot, plan, VrfMode::Netns, &BTreeMap::new(), Live::default(), PassSummary::default());
    serde_saphyr::to_string(&status.resources).unwrap()
}

#[test]
fn every_case_gives_the_expected_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("PEROUTER_UPDATE").is_some_and(|value| value == "1");
    let mut cases: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    let mut differ = Vec::new();
    for case in cases {
        let snapshot = read_case(&case);
        let toswitch = NicFacts {
            addresses: ["192.168.11.3/24".parse().unwrap()].into(),
            ..NicFacts::unused("toswitch".parse().unwrap(), 1500)
        };
        let facts = NodeFacts {
            nics: Some([(toswitch.name.clone(), toswitch)].into()),
            ..NodeFacts::unknown(VrfMode::Netns, crate::frr::release::FRR_10_7)
        };
        let plan = plan(&snapshot, &facts);
        let outputs = [
            ("plan.yaml", plan_text(&plan)),
            ("frr.conf", frr_text(&plan)),
            ("status.yaml", status_text(&snapshot, &plan)),
        ];
        for (name, got) in outputs {
            let file = case.join(name);
            if update {
                fs::write(&file, &got).unwrap();
            }
            let want = fs::read_to_string(&file).unwrap_or_default();
            if want != got {
                let diff =
                    similar::TextDiff::from_lines(&want, &got).unified_diff().header("expected", "actual").to_string();
                differ.push(format!("{}\n{diff}", file.display()));
            }
        }
    }
    assert!(differ.is_empty(), "PEROUTER_UPDATE=1 rewrites these files:\n{}", differ.join("\n"));
}
