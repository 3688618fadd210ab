//! The checks themselves: each finds what it is for, and nothing else.

use std::collections::BTreeSet;
use std::fs;

use super::document::{Document, Located};
use super::lexer::{self, Kind};
use super::pure::{self, Purity};
use super::scan::{Import, Source, scan};
use super::tree::{Target, Tree, Use};
use super::{layers, map};

fn imports(text: &str) -> Vec<(String, Option<String>, usize)> {
    let found = scan(text).imports.into_iter();
    found.map(|Import { path, name, line, .. }| (path.join("::"), name, line)).collect()
}

fn mentions(text: &str) -> Vec<(String, usize)> {
    scan(text).mentions.into_iter().map(|mention| (mention.path.join("::"), mention.line)).collect()
}

#[test]
fn tokens_are_not_found_in_comments_strings_and_characters() {
    let text = "a /* b /* c */ d */ e // f\n'g' 'h: r#\"i\"# \"j\\\"k\" b'l' r#m 1..2";
    let words: Vec<_> = lexer::tokens(text).into_iter().filter(|token| token.kind != Kind::Other).collect();
    let kinds = words.iter().map(|token| (token.kind.clone(), token.line)).collect::<Vec<_>>();
    let word = |text: &str, line| (Kind::Word(text.to_owned()), line);
    let string = |text: &str| (Kind::Text(text.to_owned()), 2);
    let sign = |sign| (Kind::Sign(sign), 2);
    assert_eq!(
        kinds,
        [word("a", 1), word("e", 1), sign(':'), string("i"), string("jk"), word("m", 2), sign('.'), sign('.')]
    );
}

#[test]
fn import_groups_are_expanded() {
    let text = "use a::{b, c::{d, e as f}, g::{self, h as _}};\npub(crate) use crate::i::*;\nuse ::j::k;";
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(
        imports(text),
        [
            ("a::b".to_owned(), name("b"), 1),
            ("a::c::d".to_owned(), name("d"), 1),
            ("a::c::e".to_owned(), name("f"), 1),
            ("a::g".to_owned(), name("g"), 1),
            ("a::g::h".to_owned(), None, 1),
            ("crate::i".to_owned(), None, 2),
            ("::j::k".to_owned(), name("k"), 3),
        ]
    );
    let public: Vec<bool> = scan(text).imports.iter().map(|import| import.public).collect();
    assert_eq!(public, [false, false, false, false, false, true, false]);
}

#[test]
fn paths_are_found_in_code_and_attributes() {
    let text = "fn f(x: crate::a::B) -> impl T + use<'_> {\n    super::c::<u8>(x.d::<e::F>());\n    g!(::h::I)\n}\n\
                #[derive(j::K)]\n#[x(with = \"cel::l\", text = \"a: m::n\")]\nstruct S; // o::p\n/* q::r */";
    let expected = [("crate::a::B", 1), ("super::c", 2), ("e::F", 2), ("::h::I", 3), ("cel::l", 6), ("j::K", 5)];
    let mut expected: Vec<_> = expected.map(|(path, line)| (path.to_owned(), line)).into();
    let mut found = mentions(text);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn items_for_tests_are_left_out() {
    let text = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\n#[path = \"x.rs\"]\npub(crate) mod c;\n\
                #[cfg(test)]\nuse d::{e, f};\n#[cfg(test)]\npub fn g() {\n    h::i();\n}\nstruct S {\n    #[cfg(test)]\n    \
                j: k::L,\n    m: n::O,\n}\n#[cfg(not(test))]\nuse p::q;\n#[cfg(test)]\nmod tests {\n    use r::s;\n}\nuse t::u;";
    let Source { imports, mentions, modules, test_modules, test_lines } = scan(text);
    assert_eq!(imports.iter().map(|import| import.path.join("::")).collect::<Vec<_>>(), ["p::q", "t::u"]);
    assert_eq!(mentions.iter().map(|mention| mention.path.join("::")).collect::<Vec<_>>(), ["n::O"]);
    assert_eq!(modules, ["a".to_owned()].into());
    assert_eq!(test_modules, ["b".to_owned(), "c".to_owned()].into());
    assert_eq!(test_lines, 2 + 3 + 2 + 4 + 2 + 4);
}

/// The tree of files with their texts, and their list of uses.
fn tree(files: &[(&str, &str)]) -> (Tree, Vec<Use>) {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let path = root.path().join("src").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let externals: BTreeSet<String> = ["std", "kube", "tokio"].map(str::to_owned).into();
    let tree = Tree::read(root.path(), "perouter", externals);
    let uses = tree.uses();
    (tree, uses)
}

fn document(block: &str) -> Document {
    Document::read(&format!("# A\n\n## Layers\n\n```text\n{block}\n```\n"))
}

fn targets(files: &[(&str, &str)]) -> Vec<String> {
    let show = |used: &Use| match &used.target {
        Target::Module(path) => format!("{} {} {}", used.place, used.from.join("/"), path.join("/")),
        Target::External(path) => format!("{} {} ::{}", used.place, used.from.join("/"), path.join("::")),
    };
    tree(files).1.iter().map(show).collect()
}

#[test]
fn paths_lead_to_modules() {
    let files = [
        ("lib.rs", "pub mod a;\npub mod b;\n"),
        ("main.rs", "use perouter::a::A;\n"),
        ("a/mod.rs", "mod kube;\nmod c;\npub use c::C;\npub struct A;\n#[cfg(test)]\nmod tests;\n"),
        ("a/c.rs", "use super::A;\npub struct C;\nmod inner { use super::super::A; }\n"),
        ("a/kube.rs", "use kube::Client;\nuse crate::b;\nfn f(c: super::C) { b::g(); self::h(); }\n"),
        ("a/tests.rs", "use crate::b;\n"),
        ("b.rs", "use crate::a::C as Renamed;\nfn g() -> Renamed { ::kube::x() }\n"),
    ];
    assert_eq!(
        targets(&files),
        [
            "src/a/c.rs:1 a/c a",
            "src/a/kube.rs:3 a/kube a/c",
            "src/a/kube.rs:2 a/kube b",
            "src/a/kube.rs:3 a/kube b",
            "src/a/kube.rs:1 a/kube ::kube::Client",
            "src/b.rs:1 b a/c",
            "src/b.rs:2 b ::kube::x",
            "src/main.rs:1 main a",
        ]
    );
}

#[test]
fn a_forbidden_import_is_found_however_it_is_written() {
    let ways = [
        "use crate::a::A;",
        "use crate::{a::{A, B}};",
        "use super::super::a::A;",
        "fn f() { crate::a::f() }",
        "use crate::a as other;",
    ];
    let block = "a: may use nothing\nb: may use nothing";
    for way in ways {
        let (_, uses) = tree(&[("lib.rs", "mod a; mod b;"), ("a.rs", ""), ("b/mod.rs", "mod c;"), ("b/c.rs", way)]);
        let expected =
            ["src/b/c.rs:1: docs/architecture.md does not let b use a", "as the tree stands:", "b: may use a"];
        assert_eq!(layers::forbidden_imports(&uses, &document(block).allowed), expected, "{way}");
        let block = "a: may use nothing\nb: may use a";
        assert_eq!(layers::forbidden_imports(&uses, &document(block).allowed), Vec::<String>::new(), "{way}");
    }
    for way in
        ["// use crate::a::A;", "/// [`crate::a::A`]", "const S: &str = \"crate::a::A\";", "#[cfg(test)] use crate::a;"]
    {
        let (_, uses) = tree(&[("lib.rs", "mod a; mod b;"), ("a.rs", ""), ("b/mod.rs", "mod c;"), ("b/c.rs", way)]);
        assert_eq!(layers::forbidden_imports(&uses, &document(block).allowed), Vec::<String>::new(), "{way}");
    }
}

#[test]
fn permissions_may_be_narrow_and_for_each_module_of_a_folder() {
    let files = [
        ("lib.rs", "mod a; mod k;"),
        ("a/mod.rs", "pub mod pure; pub mod socket;"),
        ("a/pure.rs", ""),
        ("a/socket.rs", ""),
        ("k/mod.rs", "mod one; mod two; mod shared;"),
        ("k/one.rs", "use crate::a::pure::P; use super::shared::S;"),
        ("k/two.rs", "use crate::a::socket::S; use super::one::O; use super::T;"),
        ("k/shared.rs", ""),
    ];
    let (tree, uses) = tree(&files);
    let block = "a: may use nothing\nk: may use a/pure\nk/shared: may use nothing\nk/*: may use shared";
    let allowed = document(block).allowed;
    assert_eq!(
        layers::forbidden_imports(&uses, &allowed),
        [
            "src/k/two.rs:1: docs/architecture.md does not let k use a/socket",
            "src/k/two.rs:1: docs/architecture.md does not let k/two use mod",
            "src/k/two.rs:1: docs/architecture.md does not let k/two use one",
            "as the tree stands:",
            "k: may use a",
            "k/two: may use mod, one",
        ]
    );
    assert_eq!(layers::stale_permissions(&tree, &uses, &allowed), Vec::<String>::new());
}

#[test]
fn a_list_that_is_not_the_tree_is_found() {
    let (tree, uses) = tree(&[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "")]);
    let block = "a: may use b\nb: may use a, c\nc: may use nothing\na: may use nothing\nd may use a\n\n# a comment";
    assert_eq!(
        layers::stale_permissions(&tree, &uses, &document(block).allowed),
        [
            "docs/architecture.md:10: not a rule: d may use a",
            "docs/architecture.md:6: a may use only what stands above it, and b does not",
            "docs/architecture.md:7: b does not use a",
            "docs/architecture.md:7: b may use only what stands above it, and c does not",
            "docs/architecture.md:8: there is no module c",
            "docs/architecture.md:9: a second line for a",
        ]
    );
}

#[test]
fn a_circle_is_found_in_any_folder() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "\nuse crate::c::C;"),
        ("c/mod.rs", "mod d; mod e; use d::D; pub use e::E;\n"),
        ("c/d.rs", "use super::X;"),
        ("c/e.rs", "use crate::a::A; use super::d::D;"),
    ];
    assert_eq!(
        layers::circles(&tree(&files).1),
        [
            "a circle in the top level: a, b, c\n  src/a.rs:1: a uses b\n  src/b.rs:2: b uses c\n  src/c/e.rs:1: c uses a",
            "a circle in c: d, mod\n  src/c/d.rs:1: d uses mod\n  src/c/mod.rs:1: mod uses d",
        ]
    );
}

#[test]
fn other_crates_have_their_place() {
    let files =
        [("lib.rs", "mod a; mod b;"), ("a.rs", "use kube::core::X;\nuse kube::Client;"), ("b.rs", "use tokio::fs;")];
    let block = "crate kube: only in b\ncrate kube::core: only in a";
    assert_eq!(
        layers::foreign_crates(&tree(&files).1, &document(block).allowed),
        [
            "src/a.rs:2: a uses kube::Client; docs/architecture.md:6 has kube elsewhere only",
            "src/b.rs:1: b uses tokio, which docs/architecture.md does not name",
            "docs/architecture.md:6: b does not use kube",
        ]
    );
}

#[test]
fn a_header_says_whether_a_module_is_pure() {
    let pure =
        ["Text. Pure.", "Pure data.", "Out: ops. Pure; names only links.", "Pure, total.", "Pure: reads nothing."];
    for header in pure {
        assert_eq!(pure::purity(header), Some(Purity::Pure), "{header}");
    }
    assert_eq!(pure::purity("Out: `Timing`. Pure but for the clock."), Some(Purity::Clock));
    for header in ["Text.", "Pure: [`model`]. Effects: [`apply`].", "`fold` makes it (pure).", "Not Pure."] {
        assert_eq!(pure::purity(header), None, "{header}");
    }
}

#[test]
fn effects_of_pure_modules_are_found() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        (
            "a.rs",
            "//! A. Pure.\nuse std::fs;\nuse crate::b;\nuse crate::b::Type;\nfn f(_: std::fmt::Error) { b::g(); }",
        ),
        ("b.rs", "//! B.\nuse std::fs;"),
        ("c.rs", "//! C. Pure but for the clock.\nfn f() { std::time::Instant::now(); }"),
    ];
    let (tree, uses) = tree(&files);
    let block = "pure modules: a, b\npure code: may use std::fmt, std::time,\n  but not std::time::Instant::now\n\
                 pure code but for the clock: may also use std::time";
    let allowed = document(block).allowed;
    assert_eq!(pure::unmarked(&tree, &allowed), ["src/b.rs:1: b is pure, and this header does not say `Pure.`"]);
    assert_eq!(
        pure::effects(&tree, &uses, &allowed),
        ["src/a.rs:5: a is pure and calls a function of b, which is not", "src/a.rs:2: a is pure and uses std::fs"]
    );
}

#[test]
fn the_code_map_and_the_tree_are_compared_both_ways() {
    let files = [
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod t;"),
        ("a/mod.rs", "mod c; mod one; mod two;"),
        ("a/c/mod.rs", "#[cfg(test)] mod tests;"),
        ("a/one/mod.rs", "mod x;"),
        ("a/one/x.rs", ""),
        ("a/two/mod.rs", "mod x;"),
        ("a/two/x.rs", ""),
        ("b.rs", ""),
        ("t.rs", ""),
    ];
    let text =
        "## Code map\n### `src/a/`\n* `src/a/<one>/`: each.\n* `src/a/c/`: more than is asked for.\n### `src/d.rs`\n";
    assert_eq!(
        map::code_map(&tree(&files).0, &Document::read(text)),
        [
            "src/b.rs: docs/architecture.md does not have it in its code map",
            "src/t.rs: docs/architecture.md does not have it in its code map",
            "docs/architecture.md:5: there is no src/d.rs",
        ]
    );
}

#[test]
fn paths_in_prose_must_exist() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("src/kind/l3vni")).unwrap();
    fs::write(root.path().join("src/kind/l3vni/spec.rs"), "").unwrap();
    fs::write(root.path().join("Makefile"), "a:\n\ttrue\n\ncrds: ## write\n").unwrap();
    let text = "1. `src/kind/<kind>/spec.rs`, `Spec`, `make crds` and `src/kind/`\n\
                2. `src/kind/<kind>/links.rs`, `make it`\n```text\n`src/no`\n```\n";
    let document = Document::read(text);
    assert_eq!(document.paths[1], Located { value: "src/kind/".to_owned(), line: 1 });
    assert_eq!(
        map::paths(root.path(), &document),
        [
            "docs/architecture.md:2: there is no src/kind/<kind>/links.rs",
            "docs/architecture.md:2: the Makefile has no target it",
        ]
    );
}

#[test]
fn a_type_of_one_name_in_two_modules_is_found() {
    let text =
        "struct A;\npub(crate) enum B { C }\nimpl T for B { type D = A; }\nfn f() { struct E; }\ntype F<'a> = &'a A;";
    assert_eq!(super::scan::types(text), [("A".to_owned(), 1), ("B".to_owned(), 2), ("F".to_owned(), 5)]);
    let directory = tempfile::tempdir().unwrap();
    let files = [("lib.rs", "mod a;\nmod b;"), ("a.rs", "struct One;\nstruct Two;"), ("b.rs", "trait Two {}")];
    fs::create_dir(directory.path().join("src")).unwrap();
    for (name, text) in files {
        fs::write(directory.path().join("src").join(name), text).unwrap();
    }
    let tree = Tree::read(directory.path(), "perouter", BTreeSet::new());
    let found = super::map::homonyms(directory.path(), &tree);
    assert_eq!(found, ["src/a.rs:2, src/b.rs:1: Two is a type in each of them"]);
}
