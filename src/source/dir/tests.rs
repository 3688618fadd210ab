use super::file_content::MAX_REJECTIONS;
use super::*;
use crate::kind::L3VNISpec;
use crate::snapshot::Kind;
use crate::source::write_tracker::FileEvent;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rstest::rstest;

/// A temporary directory, a reader for it, and a clock.
struct DirectoryCase {
    dir: tempfile::TempDir,
    reader: DirectoryReader,
    writes: WriteTracker,
    now: Instant,
}

impl DirectoryCase {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let reader = DirectoryReader::new(Directory::new(dir.path()), NodeIdentity::default()).unwrap();
        Self { dir, reader, writes: WriteTracker::default(), now: Instant::now() }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn record(&mut self, name: &str, event: FileEvent) {
        self.writes.record(&self.dir.path().join(name), event, self.now);
    }

    /// Reads every file, since the writes of a test cause no events.
    fn read(&mut self) -> Snapshot {
        self.writes.request_full_read();
        self.reader.read(&self.writes, self.now).unwrap()
    }

    /// `name/vni@generation` of every L3VNI.
    fn l3vnis(&mut self) -> Vec<String> {
        let shown = |(key, object): (&ObjectRef, &Object)| {
            format!("{}/{}@{}", key.name, L3VNISpec::of(&object.spec).unwrap().vni, object.generation)
        };
        self.read().of_kind(Kind::L3VNI).map(shown).collect()
    }

    fn rejections(&mut self) -> Vec<String> {
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
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &l3vni("red", "100"));
    assert_eq!(case.l3vnis(), ["red/100@1"]);
    case.write("a.yaml", &format!("# a comment\n{}", l3vni("red", "100")));
    assert_eq!(case.l3vnis(), ["red/100@1"]);
    case.write("a.yaml", &l3vni("red", "101"));
    assert_eq!(case.l3vnis(), ["red/101@2"]);
    fs::rename(case.dir.path().join("a.yaml"), case.dir.path().join("b.yaml")).unwrap();
    assert_eq!(case.l3vnis(), ["red/101@2"]);
}

#[rstest]
#[case::field(&l3vni("green", "x"), "a.yaml:9: L3VNI default/green: spec.vni: \"x\" is not a whole number; the last valid version of L3VNI default/green stays in force: write digits only")]
#[case::question(
    &l3vni("green", "300, vrff: x"),
    "a.yaml:9: L3VNI default/green: spec.vrff: is not a field; the last valid version of L3VNI default/green stays in force: did you mean vrf?"
)]
#[case::syntax(
    "a: [\n---\n",
    "a.yaml:6: document: not YAML: unclosed bracket '['; the last valid version of L3VNI default/green stays in force: check quotes, brackets and indentation here and above"
)]
#[case::name(&l3vni("''", "300"), "a.yaml:8: L3VNI default/: metadata.name: \"\" is not a valid name; the last valid version of L3VNI default/green stays in force: use lower case letters, digits, '-' and '.', starting and ending with a letter or digit")]
fn an_object_that_becomes_invalid_stays_in_force(#[case] bad: &str, #[case] message: &str) {
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &three());
    assert_eq!(case.l3vnis(), ["blue/200@1", "green/300@1", "red/100@1"]);
    case.write("a.yaml", &(l3vni("blue", "201") + bad + &l3vni("red", "100")));
    let messages = [message.to_owned()];
    for _ in 0..2 {
        assert_eq!(case.l3vnis(), ["blue/201@2", "green/300@1", "red/100@1"]);
        assert_eq!(case.rejections(), messages);
    }
    // While it is invalid, removing another object takes effect.
    case.write("a.yaml", &(bad.to_owned() + &l3vni("red", "100")));
    assert_eq!(case.l3vnis(), ["green/300@1", "red/100@1"]);
    // Removing the invalid object takes effect as well.
    case.write("a.yaml", &l3vni("red", "100"));
    assert_eq!(case.l3vnis(), ["red/100@1"]);
    assert!(case.rejections().is_empty());
}

#[test]
fn removing_a_file_removes_its_objects_at_once() {
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &three());
    case.read();
    fs::remove_file(case.dir.path().join("a.yaml")).unwrap();
    assert!(case.l3vnis().is_empty());
}

#[rstest]
#[case::emptied("")]
#[case::truncated_in_a_document(&three()[..100])]
#[case::truncated_between_documents(&l3vni("blue", "200"))]
fn a_partial_file_changes_nothing_while_it_is_written(#[case] half: &str) {
    let whole = ["blue/200@1", "green/300@1", "red/100@1"];
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &three());
    case.read();
    case.write("a.yaml", half);
    case.record("a.yaml", FileEvent::Written);
    assert_eq!(case.l3vnis(), whole);
    case.now += Duration::from_millis(100);
    case.record("a.yaml", FileEvent::Closed);
    assert_eq!(case.l3vnis(), whole);
    assert!(case.rejections().is_empty());
    // The writer continues.
    case.write("a.yaml", &(three() + &l3vni("violet", "400")));
    assert_eq!(case.l3vnis(), ["blue/200@1", "green/300@1", "red/100@1", "violet/400@1"]);
}

#[test]
fn a_new_file_is_not_rejected_while_it_is_written() {
    let mut case = DirectoryCase::new();
    case.write("a.yaml", "a: [\n");
    case.record("a.yaml", FileEvent::Written);
    assert!(case.rejections().is_empty());
    case.record("a.yaml", FileEvent::Closed);
    assert!(case.rejections().is_empty());
    case.now += crate::source::write_tracker::SETTLE;
    assert_eq!(case.rejections().len(), 1);
}

/// As a redirection of a command that failed leaves it.
#[rstest]
#[case::zero_bytes("")]
#[case::blanks("\u{feff}\n \t\r\n")]
#[case::comments("# red\n---\n  # blue\n...\n")]
fn the_objects_of_a_file_that_becomes_empty_stay_in_force(#[case] empty: &str) {
    let message = "a.yaml:1: document: the file is empty, and the objects that it had stay in force until perouter restarts: \
                   write them again, or delete the file to remove them";
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &three());
    case.read();
    case.write("a.yaml", empty);
    case.record("a.yaml", FileEvent::Written);
    assert!(case.rejections().is_empty(), "it is being written");
    case.now += crate::source::write_tracker::SETTLE;
    for _ in 0..2 {
        assert_eq!(case.l3vnis(), ["blue/200@1", "green/300@1", "red/100@1"]);
        assert_eq!(case.rejections(), [message]);
        case.write("a.yaml", &format!("{empty}# again\n"));
    }
    // Another file may have them.
    case.write("b.yaml", &l3vni("red", "101"));
    assert_eq!(case.l3vnis(), ["blue/200@1", "green/300@1", "red/101@2"]);
    assert_eq!(case.rejections(), [message]);
    fs::remove_file(case.dir.path().join("a.yaml")).unwrap();
    assert_eq!(case.l3vnis(), ["red/101@2"]);
    assert!(case.rejections().is_empty());
}

#[test]
fn a_file_that_was_empty_may_have_other_objects() {
    let mut case = DirectoryCase::new();
    case.write("a.yaml", "");
    assert!(case.l3vnis().is_empty() && case.rejections().is_empty(), "nothing is known of it");
    for text in [three(), String::new(), l3vni("red", "101")] {
        case.write("a.yaml", &text);
        case.read();
    }
    assert_eq!(case.l3vnis(), ["red/101@2"]);
    assert!(case.rejections().is_empty());
}

#[rstest]
#[case::yaml(
    "a.yaml",
    "spec:\n  vni: 1\n  vrf: a\n  vni: 2\n",
    "a.yaml:5: document: the key vni occurs twice in one mapping, here and in line 3: delete one of the two"
)]
#[case::json(
    "a.yaml",
    "{\"vni\": 1,\n\"vni\": 2}\n",
    "a.yaml:3: document: the key vni occurs twice in one mapping, here and in line 2: delete one of the two"
)]
fn a_key_that_occurs_twice_is_reported_with_both_lines(#[case] name: &str, #[case] text: &str, #[case] message: &str) {
    let mut case = DirectoryCase::new();
    case.write(name, &format!("---\n{text}"));
    assert_eq!(case.rejections(), [message]);
}

#[rstest]
#[case::by_name(
    "a.json",
    "[\n{\"a\": 1 \"b\": 2}]\n",
    "a.json:2: document: not JSON: expected `,` or `}`: check quotes, commas and brackets here and above"
)]
#[case::by_brace(
    "a.yaml",
    "{\"a\":\n [1}\n",
    "a.yaml:2: document: not JSON: expected `,` or `]`: check quotes, commas and brackets here and above"
)]
#[case::unquoted(
    "a.json",
    "{a: [1}\n",
    "a.json:1: document: not JSON: key must be a string: check quotes, commas and brackets here and above"
)]
#[case::incomplete(
    "a.json",
    "{\"a\": 1\n",
    "a.json:2: document: not JSON: EOF while parsing an object: check quotes, commas and brackets here and above"
)]
#[case::flow_style("a.yaml", "{a: [1}\n", "a.yaml:1: document: not YAML: ")]
fn a_file_that_is_not_json_is_called_so(#[case] name: &str, #[case] text: &str, #[case] message: &str) {
    let mut case = DirectoryCase::new();
    case.write(name, text);
    let found = case.rejections();
    assert!(found.len() == 1 && found[0].starts_with(message), "{found:?}");
}

#[test]
fn additions_in_place_take_effect_at_once() {
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &l3vni("red", "100"));
    case.read();
    case.write("a.yaml", &(l3vni("red", "101") + &l3vni("blue", "200")));
    case.record("a.yaml", FileEvent::Written);
    case.record("a.yaml", FileEvent::Closed);
    assert_eq!(case.l3vnis(), ["blue/200@1", "red/101@2"]);
}

#[test]
fn the_next_file_defines_the_object_when_the_first_is_removed() {
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &l3vni("red", "100"));
    case.write("b.yaml", &l3vni("red", "101"));
    assert_eq!(case.l3vnis(), ["red/100@1"]);
    assert_eq!(
        case.rejections(),
        [
            "b.yaml:3: L3VNI default/red: metadata.name: red is already defined at a.yaml:3, which takes precedence: rename or remove one of the two"
        ]
    );
    fs::remove_file(case.dir.path().join("a.yaml")).unwrap();
    assert_eq!(case.l3vnis(), ["red/101@2"]);
    assert!(case.rejections().is_empty());
}

#[rstest]
#[case::not_text(|path: &Path| fs::write(path, [0xff, 0xfe]).unwrap(), "a.yaml:1: document: its last content stays in force, as the file cannot be read: it is not UTF-8 text")]
#[case::dangling(|path: &Path| { fs::remove_file(path).unwrap(); std::os::unix::fs::symlink("nowhere", path).unwrap() }, "a.yaml:1: document: its last content stays in force, as the file cannot be read: No such file or directory (os error 2)")]
fn the_last_content_of_an_unreadable_file_stays_in_force(#[case] spoil: fn(&Path), #[case] message: &str) {
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &l3vni("red", "100"));
    case.read();
    spoil(&case.dir.path().join("a.yaml"));
    assert_eq!(case.l3vnis(), ["red/100@1"]);
    assert_eq!(case.rejections(), [message]);
}

#[test]
fn a_file_that_is_too_large_or_never_ends_costs_itself_only() {
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &l3vni("red", "100"));
    let large = case.dir.path().join("large.yaml");
    fs::File::create(&large).unwrap().set_len((16 << 20) + 1).unwrap();
    // A regular file by its type, and a read waits for the next message of the kernel.
    std::os::unix::fs::symlink("/proc/kmsg", case.dir.path().join("kmsg.yaml")).unwrap();
    assert_eq!(case.l3vnis(), ["red/100@1"]);
    let message = "large.yaml:1: document: the file cannot be read: it has more than 16777216 bytes";
    assert!(case.rejections().iter().any(|rejection| rejection == message), "{:?}", case.rejections());
}

#[test]
fn directories_and_pipes_are_ignored() {
    let mut case = DirectoryCase::new();
    fs::create_dir(case.dir.path().join("dir.yaml")).unwrap();
    nix::unistd::mkfifo(&case.dir.path().join("fifo.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(case.l3vnis().is_empty() && case.rejections().is_empty());
}

#[test]
fn secrets_are_read_for_the_objects_that_name_them() {
    let mut case = DirectoryCase::new();
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

    // While it is written, the last password stays.
    fs::write(&file, "").unwrap();
    case.record("secrets/bgp/red", FileEvent::Written);
    assert_eq!(case.read().secrets, good);
    case.now += crate::source::write_tracker::SETTLE;
    assert_ne!(case.read().secrets, good);
}

#[test]
fn errors_of_the_directory_name_the_remedy() {
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
        format!("{} is not a directory: name the directory of the YAML files", file.display())
    );
}

#[test]
fn an_unchanged_file_is_not_read_again() {
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &l3vni("red", "100"));
    case.write("b.yaml", &l3vni("blue", "200"));
    case.read();
    let files = case.reader.files.clone();
    let reused = |case: &DirectoryCase, name: &str| {
        let path = case.dir.path().join(name);
        Arc::ptr_eq(&files[&path], &case.reader.files[&path])
    };
    case.writes.finish_read(case.now);
    case.write("a.yaml", &l3vni("red", "1000"));
    case.reader.read(&case.writes, case.now).unwrap();
    assert_eq!((reused(&case, "a.yaml"), reused(&case, "b.yaml")), (false, true));
    assert_eq!(case.l3vnis(), ["blue/200@1", "red/1000@2"]);
    assert!(!reused(&case, "b.yaml"), "a full read reads every file");
}

#[test]
fn a_file_that_was_not_settled_is_read_again() {
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &three());
    case.read();
    case.writes.finish_read(case.now);
    case.write("a.yaml", &l3vni("red", "100"));
    case.record("a.yaml", FileEvent::Written);
    case.record("a.yaml", FileEvent::Closed);
    let read =
        |case: &mut DirectoryCase| case.reader.read(&case.writes, case.now).unwrap().of_kind(Kind::L3VNI).count();
    assert_eq!(read(&mut case), 3);
    // No further event of the file.
    case.now += Duration::from_secs(1);
    assert_eq!(read(&mut case), 1);
}

/// A small file can have as many mistakes as it has lines.
#[test]
fn the_mistakes_of_a_file_are_listed_up_to_a_limit_and_its_valid_objects_count() {
    let mut case = DirectoryCase::new();
    let mistakes = "---\na: 1\n".repeat(2000);
    case.write("a.yaml", &format!("{mistakes}---\n{}", l3vni("red", "100")));
    assert_eq!(case.l3vnis(), ["red/100@1"]);
    let found = case.rejections();
    assert_eq!(found.len(), MAX_REJECTIONS + 1);
    let note = "the file has more than 500 mistakes: fix these first, the others are not listed";
    assert_eq!(found.iter().filter(|rejection| rejection.ends_with(note)).count(), 1);
}

/// What was rejected as too much is read again when there is room for it.
#[test]
fn an_object_that_was_too_much_for_its_file_is_read_again() {
    let mut case = DirectoryCase::new();
    let large = |name: &str| {
        let prefixes = format!("&a {{prefix: 1.0.0.0/8}}{}", ",*a".repeat(200));
        let spec = format!("localcidr: {{ipv4: 10.0.0.0/24}}, fromHost: {{allowedPrefixes: [{prefixes}]}}");
        l3vni(name, &format!("100, {spec}"))
    };
    let comment = "# this makes the file larger, so that more may be read of it\n".repeat(20);
    case.write("a.yaml", &format!("{}{}", large("blue"), large("red")));
    let names = |case: &mut DirectoryCase| case.l3vnis().len();
    assert_eq!(names(&mut case), 1);
    case.write("a.yaml", &format!("{}{}{comment}", large("blue"), large("red")));
    assert_eq!(names(&mut case), 2);
}

/// They would take longer than as many values in a few documents.
#[test]
fn documents_after_the_limits_of_a_file_are_not_read() {
    let mut case = DirectoryCase::new();
    case.write("a.yaml", &three());
    assert_eq!(case.l3vnis().len(), 3);
    let many = (0..150_000).map(|n| format!("a: {n}")).collect::<Vec<_>>().join("\n---\n") + "\n---\n";
    case.write("a.yaml", &(l3vni("red", "101") + &many + &l3vni("blue", "201")));
    // What may be defined there stays in force.
    assert_eq!(case.l3vnis(), ["blue/200@1", "green/300@1", "red/101@2"]);
    let rejections = case.rejections();
    assert!(rejections.len() <= MAX_REJECTIONS + 1, "{}", rejections.len());
    let read = case.reader.files.values().map(|file| file.parsed.len()).sum::<usize>();
    assert!(read < 100_000, "{read}");
}
