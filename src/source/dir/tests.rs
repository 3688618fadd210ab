use super::*;
use crate::kind::L3VNISpec;
use crate::source::write_tracker::Happening;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rstest::rstest;

/// A directory of the test's own, a reader for it, and a clock.
struct Case {
    dir: tempfile::TempDir,
    reader: Reader,
    writes: Writes,
    now: Instant,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let reader = Reader::new(Directory::new(dir.path()), NodeIdentity::default()).unwrap();
        Self { dir, reader, writes: Writes::default(), now: Instant::now() }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn happens(&mut self, name: &str, happening: Happening) {
        self.writes.note(&self.dir.path().join(name), happening, self.now);
    }

    /// Reads everything, as nobody told of the writes.
    fn read(&mut self) -> Snapshot {
        self.writes.doubt();
        self.reader.read(&self.writes, self.now).unwrap()
    }

    /// `name/vni@generation` of every L3VNI.
    fn taken(&mut self) -> Vec<String> {
        let shown = |(key, object): (&ObjectRef, &Object)| {
            format!("{}/{}@{}", key.name, L3VNISpec::of(&object.spec).unwrap().vni, object.generation)
        };
        self.read().of_kind(Kind::L3VNI).map(shown).collect()
    }

    fn told(&mut self) -> Vec<String> {
        let dir = format!("{}/", self.dir.path().display());
        self.read().rejected.iter().map(|rejection| rejection.to_string().replace(&dir, "")).collect()
    }
}

fn l3vni(name: &str, vni: &str) -> String {
    format!(
        "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {{name: {name}}}\nspec: {{asn: 64514, vni: {vni}}}\n---\n"
    )
}

fn three() -> String {
    l3vni("blue", "200") + &l3vni("green", "300") + &l3vni("red", "100")
}

#[test]
fn a_generation_counts_changes_of_the_spec() {
    let mut case = Case::new();
    case.write("a.yaml", &l3vni("red", "100"));
    assert_eq!(case.taken(), ["red/100@1"]);
    case.write("a.yaml", &format!("# a comment\n{}", l3vni("red", "100")));
    assert_eq!(case.taken(), ["red/100@1"]);
    case.write("a.yaml", &l3vni("red", "101"));
    assert_eq!(case.taken(), ["red/101@2"]);
    fs::rename(case.dir.path().join("a.yaml"), case.dir.path().join("b.yaml")).unwrap();
    assert_eq!(case.taken(), ["red/101@2"]);
}

#[rstest]
#[case::field(&l3vni("green", "x"), "a.yaml:9: L3VNI default/green: spec.vni: \"x\" is not a whole number: write digits only; ")]
#[case::syntax(
    "a: [\n---\n",
    "a.yaml:6: document: not YAML: unclosed bracket '[': check quotes, brackets and indentation here and above; "
)]
#[case::name(&l3vni("''", "300"), "a.yaml:8: L3VNI default/: metadata.name: \"\" is not a name: use lower case letters, digits, '-' and '.', starting and ending with a letter or digit; ")]
fn a_mistake_leaves_in_force_what_was_good(#[case] bad: &str, #[case] told: &str) {
    let mut case = Case::new();
    case.write("a.yaml", &three());
    assert_eq!(case.taken(), ["blue/200@1", "green/300@1", "red/100@1"]);
    case.write("a.yaml", &(l3vni("blue", "201") + bad + &l3vni("red", "100")));
    let told = [format!("{told}L3VNI default/green stays in force as it was")];
    for _ in 0..2 {
        assert_eq!(case.taken(), ["blue/201@2", "green/300@1", "red/100@1"]);
        assert_eq!(case.told(), told);
    }
    // With the mistake still there, what is removed goes.
    case.write("a.yaml", &(bad.to_owned() + &l3vni("red", "100")));
    assert_eq!(case.taken(), ["green/300@1", "red/100@1"]);
    // With the mistake, it goes as well.
    case.write("a.yaml", &l3vni("red", "100"));
    assert_eq!(case.taken(), ["red/100@1"]);
    assert!(case.told().is_empty());
}

#[test]
fn a_file_removed_takes_its_objects_along_at_once() {
    let mut case = Case::new();
    case.write("a.yaml", &three());
    case.read();
    fs::remove_file(case.dir.path().join("a.yaml")).unwrap();
    assert!(case.taken().is_empty());
}

#[rstest]
#[case::emptied("")]
#[case::cut_in_a_document(&three()[..100])]
#[case::cut_between_documents(&l3vni("blue", "200"))]
fn half_a_file_is_not_believed_while_it_is_written(#[case] half: &str) {
    let whole = ["blue/200@1", "green/300@1", "red/100@1"];
    let mut case = Case::new();
    case.write("a.yaml", &three());
    case.read();
    case.write("a.yaml", half);
    case.happens("a.yaml", Happening::Written);
    assert_eq!(case.taken(), whole);
    case.now += Duration::from_millis(100);
    case.happens("a.yaml", Happening::Closed);
    assert_eq!(case.taken(), whole);
    assert!(case.told().is_empty());
    // The writer came back.
    case.write("a.yaml", &(three() + &l3vni("violet", "400")));
    assert_eq!(case.taken(), ["blue/200@1", "green/300@1", "red/100@1", "violet/400@1"]);
}

#[test]
fn a_new_file_is_not_told_about_while_it_is_written() {
    let mut case = Case::new();
    case.write("a.yaml", "a: [\n");
    case.happens("a.yaml", Happening::Written);
    assert!(case.told().is_empty());
    case.happens("a.yaml", Happening::Closed);
    assert!(case.told().is_empty());
    case.now += crate::source::write_tracker::SETTLE;
    assert_eq!(case.told().len(), 1);
}

#[test]
fn an_emptied_file_is_believed_when_it_stays_empty() {
    let mut case = Case::new();
    case.write("a.yaml", &three());
    case.read();
    case.write("a.yaml", "");
    case.happens("a.yaml", Happening::Written);
    assert_eq!(case.taken().len(), 3);
    case.now += crate::source::write_tracker::SETTLE;
    assert!(case.taken().is_empty());
}

#[test]
fn additions_in_place_need_no_patience() {
    let mut case = Case::new();
    case.write("a.yaml", &l3vni("red", "100"));
    case.read();
    case.write("a.yaml", &(l3vni("red", "101") + &l3vni("blue", "200")));
    case.happens("a.yaml", Happening::Written);
    case.happens("a.yaml", Happening::Closed);
    assert_eq!(case.taken(), ["blue/200@1", "red/101@2"]);
}

#[test]
fn the_next_file_has_the_object_when_the_first_loses_it() {
    let mut case = Case::new();
    case.write("a.yaml", &l3vni("red", "100"));
    case.write("b.yaml", &l3vni("red", "101"));
    assert_eq!(case.taken(), ["red/100@1"]);
    assert_eq!(
        case.told(),
        [
            "b.yaml:3: L3VNI default/red: metadata.name: red is already defined at a.yaml:3, which is the one in force: rename or remove one of the two"
        ]
    );
    fs::remove_file(case.dir.path().join("a.yaml")).unwrap();
    assert_eq!(case.taken(), ["red/101@2"]);
    assert!(case.told().is_empty());
}

#[rstest]
#[case::not_text(|path: &Path| fs::write(path, [0xff, 0xfe]).unwrap(), "a.yaml:1: document: the file cannot be read: stream did not contain valid UTF-8; what it held before stays in force")]
#[case::dangling(|path: &Path| { fs::remove_file(path).unwrap(); std::os::unix::fs::symlink("nowhere", path).unwrap() }, "a.yaml:1: document: the file cannot be read: No such file or directory (os error 2); what it held before stays in force")]
fn an_unreadable_file_stays_in_force(#[case] spoil: fn(&Path), #[case] told: &str) {
    let mut case = Case::new();
    case.write("a.yaml", &l3vni("red", "100"));
    case.read();
    spoil(&case.dir.path().join("a.yaml"));
    assert_eq!(case.taken(), ["red/100@1"]);
    assert_eq!(case.told(), [told]);
}

#[test]
fn what_is_no_file_is_passed_over() {
    let mut case = Case::new();
    fs::create_dir(case.dir.path().join("dir.yaml")).unwrap();
    nix::unistd::mkfifo(&case.dir.path().join("fifo.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(case.taken().is_empty() && case.told().is_empty());
}

#[test]
fn secrets_are_read_for_the_objects_that_name_them() {
    let mut case = Case::new();
    let session = "{passwordSecret: {name: bgp, key: red}}";
    case.write("a.yaml", &format!("apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {{name: red, namespace: pe}}\nspec: {{asn: 1, vni: 1, localcidr: {{ipv4: 10.0.0.0/24}}, hostSession: {session}}}\n"));
    let key = crate::snapshot::SecretKey { namespace: "pe".into(), name: "bgp".into(), key: "red".into() };
    let file = case.dir.path().join("secrets/bgp/red");
    let missing = format!("{} does not exist: write the password into it, with mode 0600", file.display());
    assert_eq!(case.read().secrets, BTreeMap::from([(key.clone(), Err(missing))]));

    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "hunter2\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let good = BTreeMap::from([(key, Ok(crate::types::Secret::new("hunter2".into())))]);
    assert_eq!(case.read().secrets, good);

    // Half written, it stays what it was.
    fs::write(&file, "").unwrap();
    case.happens("secrets/bgp/red", Happening::Written);
    assert_eq!(case.read().secrets, good);
    case.now += crate::source::write_tracker::SETTLE;
    assert_ne!(case.read().secrets, good);
}

#[test]
fn a_directory_that_is_not_there_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nowhere");
    let error = read(&missing, &missing, &NodeIdentity::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("directory {} does not exist: create it or name another one", missing.display())
    );
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = read(&file, &file, &NodeIdentity::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} is not a directory: name the directory that holds the YAML files", file.display())
    );
}

#[test]
fn what_looks_as_before_is_not_opened_again() {
    let mut case = Case::new();
    case.write("a.yaml", &l3vni("red", "100"));
    case.write("b.yaml", &l3vni("blue", "200"));
    case.read();
    let files = case.reader.files.clone();
    let kept = |case: &Case, name: &str| {
        let path = case.dir.path().join(name);
        Arc::ptr_eq(&files[&path], &case.reader.files[&path])
    };
    case.writes.forget_settled(case.now);
    case.write("a.yaml", &l3vni("red", "1000"));
    case.reader.read(&case.writes, case.now).unwrap();
    assert_eq!((kept(&case, "a.yaml"), kept(&case, "b.yaml")), (false, true));
    assert_eq!(case.taken(), ["blue/200@1", "red/1000@2"]);
    assert!(!kept(&case, "b.yaml"), "a doubt has everything read");
}

#[test]
fn what_was_not_all_believed_is_read_again() {
    let mut case = Case::new();
    case.write("a.yaml", &three());
    case.read();
    case.writes.forget_settled(case.now);
    case.write("a.yaml", &l3vni("red", "100"));
    case.happens("a.yaml", Happening::Written);
    case.happens("a.yaml", Happening::Closed);
    let read = |case: &mut Case| case.reader.read(&case.writes, case.now).unwrap().of_kind(Kind::L3VNI).count();
    assert_eq!(read(&mut case), 3);
    // Nothing happens to the file any more.
    case.now += Duration::from_secs(1);
    assert_eq!(read(&mut case), 1);
}
