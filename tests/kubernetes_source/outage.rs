//! An unreachable API server, a compacted history, slow lists: the last snapshot stays in force until every list is complete.

use std::time::{Duration, Instant};

use perouter::kind::{Kind, L3VNISpec};
use perouter::snapshot::Snapshot;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::environment::{Environment, LIMIT, NAMESPACE, l3vni};
use super::proxy::{Link, Proxy};
use super::snapshots::Source;

/// VNIs of more objects than the 500 of one page of a list.
const MANY: std::ops::Range<u32> = 1000..1600;

fn vnis(snapshot: &Snapshot) -> Vec<u32> {
    let mut vnis: Vec<u32> =
        snapshot.objects.values().filter_map(|object| Some(L3VNISpec::of(&object.spec)?.vni)).collect();
    vnis.sort_unstable();
    vnis
}

fn delete(environment: &Environment, vni: u32) {
    environment.admin.check(&["-n", NAMESPACE, "delete", "l3vni", &format!("v{vni}")]).unwrap();
}

/// The watch has to start over, on a slow connection, while objects change and etcd compacts the version that the list began with.
pub(crate) async fn an_expired_watch_starts_over(environment: &mut Environment) {
    environment.apply(&MANY.map(l3vni).collect::<Vec<_>>());
    let proxy = Proxy::start(&environment.plane.url()).await;
    let client = environment.controller_via("n1", &proxy.url()).await;
    let mut source = Source::start_with(environment, "n1", client);
    let before = source.until("start", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == MANY.len()).await;
    let version = environment.get(&["-n", NAMESPACE, "l3vni", "v1000"])["metadata"]["resourceVersion"].clone();

    let cut = Instant::now();
    proxy.set(Link::Cut);
    delete(environment, 1000);
    let mut edited = l3vni(1001);
    edited["spec"]["vni"] = json!(2001);
    environment.apply(&[edited, l3vni(2000)]);
    environment.plane.stop_api_server().unwrap();
    environment.plane.start_api_server().unwrap();
    // etcd has compacted its history and the API server has no watch cache: a watch from an old version is rejected.
    let mut response = environment.watch_from(version.as_str().unwrap());
    while !response.contains("410") && !response.contains("too old") {
        assert!(cut.elapsed() < LIMIT, "not expired: {response}");
        response = environment.watch_from(version.as_str().unwrap());
    }
    assert!(!source.snapshots.has_changed().unwrap());
    let lists = environment.audit.count("list", "l3vnis");

    eprintln!("disconnected for {:.1} s", cut.elapsed().as_secs_f64());
    proxy.set(Link::Slow);
    let start = Instant::now();
    let mut next = 2002;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|seen: &Vec<u32>| !seen.contains(&2001)) {
        if timeout(Duration::from_millis(500), source.snapshots.changed()).await.is_ok() {
            seen.push(vnis(&source.snapshots.borrow_and_update()));
        } else {
            environment.apply(&[l3vni(next)]);
            next += 1;
        }
        assert!(start.elapsed() < LIMIT, "no new list");
    }
    eprintln!("list of {} objects: {:.1} s, {} snapshots", MANY.len(), start.elapsed().as_secs_f64(), seen.len());
    assert!(environment.audit.count("list", "l3vnis") >= lists + 2, "one page or none was listed");
    // A list in progress must not look like deletions.
    let least = vnis(&before).into_iter().filter(|vni| ![1000, 1001].contains(vni)).collect::<Vec<_>>();
    for seen in &seen {
        assert!(least.iter().all(|vni| seen.contains(vni)), "objects were missing for a while: {seen:?}");
    }
    proxy.set(Link::Open);
    let wanted: Vec<u32> = (1002..1600).chain(2000..next).collect();
    source.until("not all", |snapshot| vnis(snapshot) == wanted).await;
    environment.delete_l3vnis();
    source.until("deletion", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == 0).await;
}

pub(crate) async fn the_server_stops_and_returns(environment: &mut Environment) {
    environment.apply(&[l3vni(100), l3vni(200)]);
    let mut source = Source::start(environment, "n1").await;
    let before = source.until("start", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == 2).await;
    let stranger = environment.controller_of("never-seen").await;
    environment.plane.stop_api_server().unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(!source.snapshots.has_changed().unwrap());
    // A start without API server.
    let mut alone = Source::start(environment, "n1").await;
    let cached = alone.until("no disk cache", |_| true).await;
    assert_eq!(cached, before);
    // Without a disk cache and without API server nothing is sent.
    let nothing = Source::start_with(environment, "never-seen", stranger);
    sleep(Duration::from_secs(2)).await;
    assert!(!nothing.snapshots.has_changed().unwrap());
    environment.plane.start_api_server().unwrap();
    delete(environment, 200);
    environment.apply(&[l3vni(300)]);
    let start = Instant::now();
    for source in [&mut source, &mut alone] {
        source.until("not updated", |snapshot| vnis(snapshot) == [100, 300]).await;
        assert_eq!(source.snapshots.borrow().node.index, 0);
    }
    eprintln!("API server back: snapshot after {:.1} s", start.elapsed().as_secs_f64());
    environment.delete_l3vnis();
}

/// An object that was deleted while neither controller nor server ran disappears once the initial lists are complete.
pub(crate) async fn the_disk_cache_is_reconciled(environment: &Environment) {
    environment.apply(&[l3vni(100), l3vni(200)]);
    let mut source = Source::start(environment, "n1").await;
    source.until("start", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == 2).await;
    until_cached(environment, 2).await;
    drop(source);
    delete(environment, 200);
    let proxy = Proxy::start(&environment.plane.url()).await;
    proxy.set(Link::Cut);
    let client = environment.controller_via("n1", &proxy.url()).await;
    let mut source = Source::start_with(environment, "n1", client);
    source.until("no disk cache", |snapshot| vnis(snapshot) == [100, 200]).await;
    proxy.set(Link::Open);
    source.until("not reconciled", |snapshot| vnis(snapshot) == [100]).await;
    until_cached(environment, 1).await;
    environment.delete_l3vnis();
}

/// Waits until the disk cache has this many L3VNIs: a snapshot is cached after it is delivered.
async fn until_cached(environment: &Environment, count: usize) {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let text = std::fs::read(environment.disk_cache("n1")).unwrap_or_default();
        let cached: Value = serde_json::from_slice(&text).unwrap_or_default();
        let found = cached["l3vnis"].as_array().map(Vec::len);
        if found == Some(count) {
            return;
        }
        assert!(Instant::now() < end, "{found:?} L3VNIs in the disk cache, not {count}");
        sleep(Duration::from_millis(10)).await;
    }
}
