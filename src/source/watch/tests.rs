use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::kind::{GROUP, Kind, L3VNISpec};
use crate::snapshot::Object;

/// When a test fails: none waits for a fixed time.
const DEADLINE: Duration = Duration::from_secs(20);

struct RunningWatch {
    dir: tempfile::TempDir,
    snapshots: watch::Receiver<Snapshot>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), SourceError>>,
}

impl RunningWatch {
    /// Watches `sub` of a temporary directory, after `prepare`.
    async fn start(sub: &str, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let directory = Directory::new(dir.path().join(sub));
        let (sender, mut snapshots) = watch::channel(Snapshot::default());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(watch(directory, NodeIdentity::default(), sender, Arc::default(), shutdown.clone()));
        timeout(DEADLINE, snapshots.changed()).await.unwrap().unwrap();
        Self { dir, snapshots, shutdown, task }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Waits for a snapshot with these L3VNIs (`name/vni`).
    async fn until(&mut self, wanted: &[&str]) -> Snapshot {
        let waited = timeout(DEADLINE, self.snapshots.wait_for(|snapshot| shown(snapshot) == wanted)).await;
        let snapshot = waited.ok().map(|snapshot| snapshot.unwrap().clone());
        snapshot.unwrap_or_else(|| panic!("wanted {wanted:?}, have {:?}", shown(&self.snapshots.borrow())))
    }

    async fn until_that(&mut self, wanted: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        timeout(DEADLINE, self.snapshots.wait_for(wanted)).await.unwrap().unwrap().clone()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(DEADLINE, self.task).await.unwrap().unwrap().unwrap();
    }
}

fn shown(snapshot: &Snapshot) -> Vec<String> {
    let vni = |object: &Object| L3VNISpec::of(&object.spec).unwrap().vni;
    snapshot.of_kind(Kind::L3VNI).map(|(key, object)| format!("{}/{}", key.name, vni(object))).collect()
}

fn generation(snapshot: &Snapshot) -> i64 {
    snapshot.of_kind(Kind::L3VNI).next().unwrap().1.generation
}

fn l3vni(name: &str, vni: u32) -> String {
    format!("apiVersion: {GROUP}/v1alpha1\nkind: L3VNI\nmetadata: {{name: {name}}}\nspec: {{asn: 64514, vni: {vni}}}\n")
}

/// Replaces a file as a whole, as editors do.
fn replace(path: &Path, text: &str) {
    let aside = path.with_extension("tmp");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, path).unwrap();
}

#[tokio::test]
async fn files_are_added_changed_and_removed() {
    let mut running = RunningWatch::start("", |_| {}).await;
    running.until(&[]).await;
    fs::write(running.path("red.yaml"), l3vni("red", 100)).unwrap();
    running.until(&["red/100"]).await;
    fs::write(running.path("red.yaml"), l3vni("red", 101)).unwrap();
    assert_eq!(generation(&running.until(&["red/101"]).await), 2);
    replace(&running.path("red.yaml"), &l3vni("red", 102));
    assert_eq!(generation(&running.until(&["red/102"]).await), 3);
    replace(&running.path("blue.yaml"), &l3vni("blue", 200));
    running.until(&["blue/200", "red/102"]).await;
    fs::remove_file(running.path("red.yaml")).unwrap();
    running.until(&["blue/200"]).await;
    fs::rename(running.path("blue.yaml"), running.path("blue.off")).unwrap();
    running.until(&[]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_config_map_is_replaced_as_a_whole() {
    let generation = |dir: &Path, name: &str, vnis: &[(&str, u32)]| {
        fs::create_dir(dir.join(name)).unwrap();
        for (vrf, vni) in vnis {
            fs::write(dir.join(name).join(format!("{vrf}.yaml")), l3vni(vrf, *vni)).unwrap();
        }
        symlink(name, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    };
    let mut running = RunningWatch::start("", |dir| {
        generation(dir, "..one", &[("red", 100), ("blue", 200)]);
        symlink("..data/red.yaml", dir.join("red.yaml")).unwrap();
        symlink("..data/blue.yaml", dir.join("blue.yaml")).unwrap();
    })
    .await;
    running.until(&["blue/200", "red/100"]).await;
    generation(running.dir.path(), "..two", &[("red", 101), ("blue", 201)]);
    let snapshot = running.until_that(|snapshot| shown(snapshot) != ["blue/200", "red/100"]).await;
    assert_eq!(shown(&snapshot), ["blue/201", "red/101"], "one replacement is one snapshot");
    // kubelet removes the link of a key after the replacement.
    generation(running.dir.path(), "..three", &[("red", 101)]);
    fs::remove_file(running.path("blue.yaml")).unwrap();
    assert!(running.until(&["red/101"]).await.rejected.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_file_written_in_pieces_never_loses_its_objects() {
    use std::io::Write;
    let text = format!("{}---\n{}", l3vni("red", 100), l3vni("blue", 200));
    let mut running = RunningWatch::start("", |dir| fs::write(dir.join("a.yaml"), &text).unwrap()).await;
    running.until(&["blue/200", "red/100"]).await;
    let mut seen = running.snapshots.clone();
    let collected = tokio::spawn(async move {
        let mut all = Vec::new();
        while seen.changed().await.is_ok() {
            all.push(seen.borrow_and_update().clone());
        }
        all
    });
    // The file is truncated and written over several bursts, with another VNI at its end.
    let path = running.path("a.yaml");
    let grown = format!("{text}---\n{}", l3vni("green", 300));
    tokio::task::spawn_blocking(move || {
        let mut file = fs::File::create(path).unwrap();
        for piece in grown.as_bytes().chunks(grown.len() / 5) {
            file.write_all(piece).unwrap();
            file.flush().unwrap();
            std::thread::sleep(COALESCE * 2);
        }
    })
    .await
    .unwrap();
    running.until(&["blue/200", "green/300", "red/100"]).await;
    running.stop().await;
    for snapshot in timeout(DEADLINE, collected).await.unwrap().unwrap() {
        let shown = shown(&snapshot);
        assert!(shown.iter().any(|vni| vni == "red/100") && shown.iter().any(|vni| vni == "blue/200"), "{shown:?}");
        assert!(snapshot.rejected.is_empty(), "{:?}", snapshot.rejected);
    }
}

#[tokio::test]
async fn a_broken_file_is_rejected_until_it_is_fixed() {
    let mut running = RunningWatch::start("", |dir| fs::write(dir.join("red.yaml"), l3vni("red", 100)).unwrap()).await;
    running.until(&["red/100"]).await;
    fs::write(running.path("red.yaml"), "a: [\n").unwrap();
    let snapshot = running.until_that(|snapshot| !snapshot.rejected.is_empty()).await;
    assert_eq!(shown(&snapshot), ["red/100"]);
    fs::write(running.path("red.yaml"), l3vni("red", 101)).unwrap();
    assert!(running.until(&["red/101"]).await.rejected.is_empty());
    fs::write(running.path("red.yaml"), "").unwrap();
    let snapshot = running.until_that(|snapshot| !snapshot.rejected.is_empty()).await;
    assert_eq!(shown(&snapshot), ["red/101"]);
    fs::remove_file(running.path("red.yaml")).unwrap();
    assert!(running.until(&[]).await.rejected.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_burst_of_files_is_few_snapshots() {
    let mut running = RunningWatch::start("", |_| {}).await;
    let mut seen = running.snapshots.clone();
    let counted = tokio::spawn(async move {
        let mut count = 0;
        while seen.changed().await.is_ok() {
            count += 1;
        }
        count
    });
    for vni in 1..=200 {
        fs::write(running.path(&format!("{vni}.yaml")), l3vni(&format!("v{vni}"), vni)).unwrap();
    }
    running.until_that(|snapshot| snapshot.objects.len() == 200).await;
    running.stop().await;
    let count = timeout(DEADLINE, counted).await.unwrap().unwrap();
    assert!(count <= 10, "{count} snapshots for one burst");
}

#[tokio::test]
async fn the_directory_may_disappear_and_return() {
    let mut running = RunningWatch::start("conf", |dir| {
        fs::create_dir(dir.join("conf")).unwrap();
        fs::write(dir.join("conf/red.yaml"), l3vni("red", 100)).unwrap();
    })
    .await;
    fs::rename(running.path("conf"), running.path("away")).unwrap();
    let snapshot = running.until_that(|snapshot| !snapshot.rejected.is_empty()).await;
    assert_eq!(shown(&snapshot), ["red/100"]);
    let dir = running.path("conf");
    let wanted = format!(
        "document: its last content stays in force, as directory {} does not exist: create it or name another one",
        dir.display()
    );
    assert_eq!(snapshot.rejected[0].to_string(), wanted);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("red.yaml"), l3vni("red", 101)).unwrap();
    assert!(running.until(&["red/101"]).await.rejected.is_empty());
    // The watch is on the new directory.
    fs::write(dir.join("blue.yaml"), l3vni("blue", 200)).unwrap();
    running.until(&["blue/200", "red/101"]).await;
    fs::remove_dir_all(&dir).unwrap();
    running.until_that(|snapshot| !snapshot.rejected.is_empty()).await;
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("red.yaml"), l3vni("red", 102)).unwrap();
    running.until(&["red/102"]).await;
    fs::write(dir.join("red.yaml"), l3vni("red", 103)).unwrap();
    running.until(&["red/103"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_created_and_changed_is_read() {
    let mut running = RunningWatch::start("", |dir| {
        let text = l3vni("red", 100).replace(
            "vni: 100",
            "vni: 100, localcidr: {ipv4: 10.0.0.0/24}, hostSession: {passwordSecret: {name: bgp, key: red}}",
        );
        fs::write(dir.join("red.yaml"), text).unwrap();
    })
    .await;
    let secret = |snapshot: &Snapshot| {
        snapshot.secrets.values().next().cloned().unwrap().ok().map(|secret| secret.expose().to_owned())
    };
    assert_eq!(secret(&running.until(&["red/100"]).await), None);
    let file = running.path("secrets/bgp/red");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "one").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    running.until_that(|snapshot| secret(snapshot).as_deref() == Some("one")).await;
    fs::write(&file, "two").unwrap();
    running.until_that(|snapshot| secret(snapshot).as_deref() == Some("two")).await;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    running.until_that(|snapshot| secret(snapshot).is_none()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_missing_directory_at_the_start_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, _receiver) = watch::channel(Snapshot::default());
    let directory = Directory::new(dir.path().join("nowhere"));
    let ended = watch(directory, NodeIdentity::default(), sender, Arc::default(), CancellationToken::new());
    let error = timeout(DEADLINE, ended).await.unwrap().unwrap_err();
    assert!(matches!(error, SourceError::Missing { .. }), "{error}");
}
