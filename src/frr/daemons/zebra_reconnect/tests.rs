//! Tests of [`super`].

use super::*;
use rstest::rstest;

fn ids(pairs: &[(&str, u64)]) -> VrfIds {
    pairs.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect()
}

#[rstest]
#[case(&["red", "blue"], &[("blue", 1), ("red", 2)], &["blue", "red"])]
#[case(&["a", "b", "c", "d"], &[("d", 1), ("b", 4)], &["d", "a", "c", "b"])]
#[case(&["old", "red"], &[("default", 0), ("red", 1)], &["red", "old"])]
fn namespaces_are_found_in_the_order_of_their_numbers(
    #[case] found: &[&str],
    #[case] known: &[(&str, u64)],
    #[case] wanted: &[&str],
) {
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(in_order(&found, &ids(known)), wanted);
}

#[test]
fn a_directory_is_read_in_that_order() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    for name in ["c", "a", "b"] {
        symlink(format!("/{name}"), dir.path().join(name)).unwrap();
    }
    arrange(dir.path(), &ids(&[("b", 1), ("c", 2), ("a", 3)])).unwrap();
    let read = || fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert_eq!(read().collect::<Vec<_>>(), ["b", "c", "a"]);
    assert_eq!(fs::read_link(dir.path().join("a")).unwrap(), Path::new("/a"));
    arrange(dir.path(), &ids(&[("a", 1), ("b", 2), ("c", 3)])).unwrap();
    assert_eq!(read().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_missing_number_cannot_be_assigned() {
    let dir = tempfile::tempdir().unwrap();
    symlink("/red", dir.path().join("red")).unwrap();
    let error = arrange(dir.path(), &ids(&[("default", 0), ("red", 2)])).unwrap_err();
    assert!(matches!(error, ReconnectError::OtherIds { .. }), "{error}");
}

#[test]
fn the_numbers_of_zebra_are_read() {
    let text = "netns-based vrfs\nvrf blue id 2 netns /run/x (configured)\nvrf red id 10 table 1\nvrf gone inactive\n";
    assert_eq!(zebra_ids(text), ids(&[("blue", 2), ("red", 10)]));
}

#[test]
fn clients_are_found_by_their_protocol() {
    let table = "Name      Connect Time    Last Read\n-----\nvnc  00:00:03\nbgp           00:00:03     00:00:03\n";
    let clients = [Daemon::Bgpd, Daemon::Bfdd, Daemon::Staticd].map(|daemon| is_client(table, daemon));
    assert_eq!(clients, [true, false, false]);
}

#[test]
fn every_instance_sends_zebra_its_routes() {
    let commands = resend("!\nrouter bgp 1\n bgp router-id 1.1.1.1\nexit\nrouter bgp 1 vrf red\nexit\n");
    let headers: Vec<_> = commands.iter().filter(|line| line.starts_with("router bgp")).collect();
    assert_eq!(headers, ["router bgp 1", "router bgp 1 vrf red"]);
    let maps = |word: &str| commands.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((maps("table-map"), maps("no table-map"), maps("no route-map")), (4, 4, 1));
}
