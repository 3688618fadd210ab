//! The checks themselves: each finds what it is for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::commands::{self, Known};
use super::examples;
use super::links;
use super::markdown::{Page, Shown, words};
use super::workflows;

fn page(text: &str) -> BTreeMap<PathBuf, Page> {
    [(PathBuf::from("docs/a.md"), Page::read(text))].into()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_page_is_read() {
    let text = "# One `two`: three\n\nA [`b`](c.md#d), `[e](f)`.\n\n<!-- run: exit 2 -->\n```console\n$ g \\\n    h  # i\nj\n# k\n```\n\n## L\n## L\n";
    let page = Page::read(text);
    assert_eq!(page.title.as_deref(), Some("One `two`: three"));
    assert_eq!(page.anchors.iter().collect::<Vec<_>>(), ["l", "l-1", "one-two-three"]);
    assert_eq!(page.links, [(3, "c.md#d".to_owned())]);
    assert_eq!(page.spans, [(1, "two".to_owned()), (3, "b".to_owned()), (3, "[e](f)".to_owned())]);
    let block = &page.blocks[0];
    assert_eq!((block.line, block.exit_status("run"), block.exit_status("lab")), (6, Some(2), None));
    let shown = |command: &str, output: &str| Shown { command: command.to_owned(), output: output.to_owned() };
    assert_eq!(block.shown(), [shown("g h", "j\n"), shown("k", "")]);
}

#[test]
fn words_are_those_of_a_shell() {
    assert_eq!(words("a 'b c' \"d\"e | f"), ["a", "b c", "de", "|", "f"]);
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let mut pages = page("# A\n\n[x](b.md) [y](c.md#no) [w](https://example.com) [v](../docs)\n");
    pages.insert("docs/c.md".into(), Page::read("# C\n"));
    assert_eq!(
        links::broken(&root(), &pages),
        [
            "docs/a.md:3: there is no file docs/b.md",
            "docs/a.md:3: there is no file docs/c.md",
            "docs/a.md:3: there is no file docs",
        ]
    );
    let pages = [("docs/README.md".into(), Page::read("# A\n\n[z](#a) [y](#b)\n"))].into();
    assert_eq!(links::broken(&root(), &pages), ["docs/README.md:3: docs/README.md has no heading #b"]);
}

#[test]
fn a_screenshot_that_no_page_shows_is_found() {
    let pages = page("# A\n\n![b](ui/b.png)\n");
    let screenshots = ["docs/ui/b.png", "docs/ui/c.png"].map(PathBuf::from);
    assert_eq!(links::not_shown(&pages, &screenshots), ["no page shows docs/ui/c.png"]);
}

#[test]
fn a_command_that_nothing_runs_is_found() {
    let known = Known::read(&root());
    let found = |note: &str, command: &str| {
        let text = format!("# A\n\n{note}\n```console\n$ {command}\n```\n");
        commands::unaccounted(&page(&text), &known)
    };
    for (note, command) in [
        ("<!-- run -->", "perouter crds"),
        ("<!-- lab: exit 1 -->", "perouter status"),
        ("<!-- test: a_command_that_nothing_runs_is_found -->", "perouter status"),
        ("<!-- not run: it needs a switch -->", "perouter status"),
        ("<!-- level -->", "make test"),
    ] {
        assert_eq!(found(note, command), Vec::<String>::new(), "{note}");
    }
    for (note, command) in [
        ("", "perouter crds"),
        ("<!-- not run: -->", "perouter crds"),
        ("<!-- test: there_is_none -->", "perouter crds"),
        ("<!-- level -->", "make coffee"),
        ("<!-- run: sometimes -->", "perouter crds"),
    ] {
        assert_eq!(found(note, command).len(), 1, "{note}");
    }
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let known = Known::read(&root());
    let found = |line: &str| commands::wrong(&page(&format!("# A\n\n```console\n# {line}\n```\n")), &known).len();
    for good in [
        "perouter plan --node-index 0 -o json | jq .steps",
        "KEEP=1 make demo-metallb SOURCE=kubernetes",
        "kubectl exec ds/controller -- perouter status",
        "kubectl perouter sessions --node n1 -o json",
        "ip netns exec perouter perouter status",
        "kubectl apply -k deploy",
        "perouter-lab inspect --name kind",
        "hack/test.sh fast",
    ] {
        assert_eq!(found(good), 0, "{good}");
    }
    for bad in [
        "perouter plan --colour",
        "perouter paln",
        "true && perouter routes",
        "make coffee",
        "kubectl exec ds/controller -- perouter paln",
        "kubectl perouter paln --node n1",
        "ip netns exec x perouter status red",
        "kubectl apply -f examples/none.yaml",
        "perouter-lab brew",
    ] {
        assert_eq!(found(bad), 1, "{bad}");
    }
    let spans = |text: &str| commands::wrong(&page(&format!("# A\n\n{text}\n")), &known).len();
    assert_eq!(
        spans("`perouter routes VRF`, `perouter COMMAND --help`, `make test`, `perouter validate --this-node`"),
        0
    );
    assert_eq!(spans("`perouter paln`, `perouter plan --colour`, `make coffee`"), 3);
}

#[test]
fn an_example_that_is_wrong_is_found() {
    let found = |note: &str, language: &str, text: &str| {
        examples::wrong(&root(), &page(&format!("# A\n\n{note}\n```{language}\n{text}\n```\n")))
    };
    let good: [(&str, &str, &str); 6] = [
        ("<!-- spec of L3VNI -->", "yaml", "vni: 7"),
        ("<!-- spec of L3VNI -->", "yaml", "hostSession: {passwordSecret: {name: a, key: b}}"),
        ("<!-- not run: of another program -->", "yaml", "kind: Service"),
        ("<!-- part of: clab/kind.yaml -->", "yaml", "# nothing"),
        ("<!-- part of: clab/leafA/frr.conf -->", "frr", "router bgp 64520\n!\n address-family ipv4 unicast"),
        ("", "text", "anything"),
    ];
    for (note, language, text) in good {
        assert_eq!(found(note, language, text), Vec::<String>::new(), "{note} {text}");
    }
    let bad: [(&str, &str, &str); 7] = [
        ("<!-- spec of L3VNI -->", "yaml", "vni: 0"),
        ("<!-- spec of L3VNI -->", "yaml", "colour: red"),
        ("", "yaml", "kind: Service"),
        ("", "yaml", "a: b: c"),
        ("<!-- part of: clab/kind.yaml -->", "yaml", "kind: Service"),
        ("<!-- part of: clab/leafA/frr.conf -->", "frr", " address-family ipv4 unicast\nrouter bgp 64520"),
        (
            "",
            "yaml",
            "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: red}\nspec: {asn: 1}",
        ),
    ];
    for (note, language, text) in bad {
        assert_eq!(found(note, language, text).len(), 1, "{note} {text}");
    }
}

#[test]
fn a_page_that_the_book_lacks_is_found() {
    let mut pages = page("No title\n");
    pages.insert("docs/SUMMARY.md".into(), Page::read("# Summary\n\n- [B](b.md)\n- [C](b.md)\n"));
    pages.insert("docs/b.md".into(), Page::read("# B\n"));
    assert_eq!(
        links::not_in_the_book(&pages),
        [
            "twice in the summary: docs/b.md",
            "not in docs/SUMMARY.md: docs/a.md",
            "docs/a.md does not begin with its title"
        ]
    );
    assert!(Path::new("docs").is_dir());
}

#[test]
fn levels_are_those_of_makefile_and_matrix() {
    let set = |levels: &[&str]| levels.iter().map(|&level| level.to_owned()).collect();
    let makefile = "test: setup ## x\n\t@hack/test.sh\ntest-all: setup ## y\n\t@hack/test.sh fast docker-all\n";
    assert_eq!(workflows::levels_of_test_all(makefile), set(&["docker-all", "fast"]));
    let matrix =
        "levels: [\"fast fuzz\", \"vrf\"]\n- {levels: \"docker-all\", options: \"--x\"}\nrun ${{ matrix.levels }}\n";
    assert_eq!(workflows::levels_of_matrix(matrix), set(&["docker-all", "fast", "fuzz", "vrf"]));
}

#[test]
fn a_target_and_a_script_that_a_workflow_names_and_that_do_not_exist_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let text = "- run: make here\n- run: apt-get install make gcc && make gone\n- run: hack/gone.sh x\n";
    std::fs::write(folder.path().join("a.yaml"), text).unwrap();
    let found = workflows::missing(folder.path(), "\nhere: ## x\n", &["a.yaml".to_owned()]);
    assert_eq!(found, ["a.yaml: the Makefile has no target gone", "a.yaml: there is no hack/gone.sh"]);
}

#[test]
fn a_value_that_the_chart_does_not_have_is_found() {
    let values = serde_json::json!({"a": {"b": 1}, "c": {}});
    let text =
        "x `--set a.b=1,a.d=2` y\n\n| value | default | meaning |\n|---|---|---|\n| `c`, `e` | `f` | g |\n\n| `h` |\n";
    assert_eq!(super::chart::unknown_values(text, &values), ["a.d", "e"]);
}
