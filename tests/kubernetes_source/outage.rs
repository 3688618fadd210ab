//! The API server away, its history gone, its lists slow: what is known stays in force until all is known again.

use std::time::{Duration, Instant};

use perouter::kind::{Kind, L3VNISpec};
use perouter::snapshot::Snapshot;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::place::{LIMIT, NAMESPACE, Place, l3vni};
use super::proxy::{Proxy, Way};
use super::snapshots::Source;

/// VNIs of more objects than the 500 of one page.
const MANY: std::ops::Range<u32> = 1000..1600;

fn vnis(snapshot: &Snapshot) -> Vec<u32> {
    let mut vnis: Vec<u32> =
        snapshot.objects.values().filter_map(|object| Some(L3VNISpec::of(&object.spec)?.vni)).collect();
    vnis.sort_unstable();
    vnis
}

fn delete(place: &Place, vni: u32) {
    place.admin.check(&["-n", NAMESPACE, "delete", "l3vni", &format!("v{vni}")]).unwrap();
}

/// The watch has to begin anew, over a slow way, while etcd forgets what the list began with and objects change.
pub(crate) async fn an_expired_watch_begins_anew(place: &mut Place) {
    place.apply(&MANY.map(l3vni).collect::<Vec<_>>());
    let proxy = Proxy::start(&place.plane.url()).await;
    let client = place.controller_by(&proxy.url()).await;
    let mut source = Source::start_with(place, "n1", client);
    let before = source.until("start", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == MANY.len()).await;
    let version = place.get(&["-n", NAMESPACE, "l3vni", "v1000"])["metadata"]["resourceVersion"].clone();

    let cut = Instant::now();
    proxy.set(Way::Cut);
    delete(place, 1000);
    let mut edited = l3vni(1001);
    edited["spec"]["vni"] = json!(2001);
    place.apply(&[edited, l3vni(2000)]);
    place.plane.stop_api_server().unwrap();
    place.plane.start_api_server().unwrap();
    // etcd has forgotten, and the API server has no memory of its own: a watch from before is refused.
    let mut said = place.watch_from(version.as_str().unwrap());
    while !said.contains("410") && !said.contains("too old") {
        assert!(cut.elapsed() < LIMIT, "not expired: {said}");
        said = place.watch_from(version.as_str().unwrap());
    }
    assert!(!source.snapshots.has_changed().unwrap());
    let lists = place.audit.count("list", "l3vnis");

    eprintln!("cut for {:.1} s", cut.elapsed().as_secs_f64());
    proxy.set(Way::Slow);
    let start = Instant::now();
    let mut next = 2002;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|seen: &Vec<u32>| !seen.contains(&2001)) {
        if timeout(Duration::from_millis(500), source.snapshots.changed()).await.is_ok() {
            seen.push(vnis(&source.snapshots.borrow_and_update()));
        } else {
            place.apply(&[l3vni(next)]);
            next += 1;
        }
        assert!(start.elapsed() < LIMIT, "no new list");
    }
    eprintln!("list of {} objects: {:.1} s, {} snapshots", MANY.len(), start.elapsed().as_secs_f64(), seen.len());
    assert!(place.audit.count("list", "l3vnis") >= lists + 2, "one page or none was listed");
    // A list in progress never looks like deletions.
    let least = vnis(&before).into_iter().filter(|vni| ![1000, 1001].contains(vni)).collect::<Vec<_>>();
    for seen in &seen {
        assert!(least.iter().all(|vni| seen.contains(vni)), "objects were missing for a while: {seen:?}");
    }
    proxy.set(Way::Open);
    let wanted: Vec<u32> = (1002..1600).chain(2000..next).collect();
    source.until("not all", |snapshot| vnis(snapshot) == wanted).await;
    place.delete_l3vnis();
    source.until("deletion", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == 0).await;
}

pub(crate) async fn the_server_goes_and_comes_back(place: &mut Place) {
    place.apply(&[l3vni(100), l3vni(200)]);
    let mut source = Source::start(place, "n1");
    let before = source.until("start", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == 2).await;
    place.plane.stop_api_server().unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(!source.snapshots.has_changed().unwrap());
    // A start without the server.
    let mut alone = Source::start(place, "n1");
    let kept = alone.until("nothing kept", |_| true).await;
    assert_eq!(kept, before);
    // One that has nothing kept and no server sends nothing.
    let nothing = Source::start(place, "never-seen");
    sleep(Duration::from_secs(2)).await;
    assert!(!nothing.snapshots.has_changed().unwrap());
    place.plane.start_api_server().unwrap();
    delete(place, 200);
    place.apply(&[l3vni(300)]);
    let start = Instant::now();
    for source in [&mut source, &mut alone] {
        source.until("did not come back", |snapshot| vnis(snapshot) == [100, 300]).await;
        assert_eq!(source.snapshots.borrow().node.index, 0);
    }
    eprintln!("API server back: seen after {:.1} s", start.elapsed().as_secs_f64());
    place.delete_l3vnis();
}

/// What was deleted while neither controller nor server ran is gone once the server has told everything.
pub(crate) async fn what_is_kept_is_reconciled(place: &Place) {
    place.apply(&[l3vni(100), l3vni(200)]);
    let mut source = Source::start(place, "n1");
    source.until("start", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == 2).await;
    drop(source);
    delete(place, 200);
    let proxy = Proxy::start(&place.plane.url()).await;
    proxy.set(Way::Cut);
    let client = place.controller_by(&proxy.url()).await;
    let mut source = Source::start_with(place, "n1", client);
    source.until("nothing kept", |snapshot| vnis(snapshot) == [100, 200]).await;
    proxy.set(Way::Open);
    source.until("not reconciled", |snapshot| vnis(snapshot) == [100]).await;
    let kept: Value = serde_json::from_slice(&std::fs::read(place.kept("n1")).unwrap()).unwrap();
    assert_eq!(kept["l3vnis"].as_array().unwrap().len(), 1);
    place.delete_l3vnis();
}
