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

#[rstest]
#[case::configured(r#"{"vrfs":[{"vrf":"red","vni":100,"vxlanIntf":"None","state":"Down"}]}"#, true)]
#[case::another(r#"{"vrfs":[{"vrf":"blue","vni":200,"state":"Up"}]}"#, false)]
#[case::none("{}", false)]
#[case::no_json("", false)]
fn bgpd_connects_when_zebra_is_configured_with_its_l3vnis(#[case] zebra: &str, #[case] expected: bool) {
    let bgpd = r#"{"numVnis":1,"100":{"vni":100,"type":"L3","inKernel":"True"}}"#;
    assert_eq!(configures(zebra, bgpd).unwrap(), expected);
    assert!(configures(zebra, "{}").unwrap(), "it has none");
}

#[rstest]
#[case::all_up(r#"[{"vni":100,"type":"L3","state":"Up"}]"#, true)]
#[case::down(r#"[{"vni":100,"type":"L3","state":"Down"}]"#, false)]
#[case::not_listed("[]", false)]
#[case::of_a_zebra_without_configuration("[{\"vni\":100,\"type\":\"L2\",\"vxlanInterface\":\"vni100\"}]", false)]
fn zebra_has_the_l3vnis_when_it_lists_all_of_bgpd_as_up(#[case] zebra: &str, #[case] expected: bool) {
    let bgpd = r#"{"numVnis":1,"100":{"vni":100,"type":"L3","inKernel":"True"}}"#;
    assert_eq!(all_up(zebra, bgpd).unwrap(), expected);
    assert!(all_up("[]", "{}").unwrap(), "without any");
}

#[test]
fn clients_are_found_by_their_protocol() {
    let table = "Name      Connect Time    Last Read\n-----\nvnc  00:00:03\nbgp           00:00:03     00:00:03\n";
    let clients = [Daemon::Bgpd, Daemon::Bfdd, Daemon::Staticd].map(|daemon| is_client(table, daemon));
    assert_eq!(clients, [true, false, false]);
}

#[test]
fn every_instance_sends_zebra_its_routes() {
    let commands = resend("!\nrouter bgp 1\n bgp router-id 1.1.1.1\nexit\nrouter bgp 1 vrf red\nexit\n", &[]);
    let headers: Vec<_> = commands.iter().filter(|line| line.starts_with("router bgp")).collect();
    assert_eq!(headers, ["router bgp 1", "router bgp 1 vrf red"]);
    let maps = |word: &str| commands.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((maps("table-map"), maps("no table-map"), maps("no route-map")), (4, 4, 1));
}

#[test]
fn the_routes_of_l2vnis_are_imported_once_more_in_the_default_instance() {
    let running =
        "router bgp 1 vrf red\nexit\nrouter bgp 1\n address-family l2vpn evpn\n  vni 110\n  exit-vni\n exit\nexit\n";
    let [configured, other] = [110, 120].map(|vni| Vni::try_from(vni).unwrap());
    let commands = resend(running, &[configured, other]);
    let of_segments = |vni| {
        [
            "address-family l2vpn evpn".to_owned(),
            format!("vni {vni}"),
            format!("route-target import {NOBODYS}"),
            format!("no route-target import {NOBODYS}"),
            "exit-vni".to_owned(),
        ]
    };
    let end = ["exit-address-family", "exit", "no route-map pe-resend", "end"].map(String::from);
    let between = "exit-address-family".to_owned();
    // What was not configured before is not configured afterwards.
    let wanted: Vec<String> = of_segments(110)
        .into_iter()
        .chain([between])
        .chain(of_segments(120))
        .chain(["no vni 120".to_owned()])
        .chain(end)
        .collect();
    let first = commands.iter().position(|line| *line == "address-family l2vpn evpn").unwrap();
    assert_eq!(commands[first..], wanted);
    let header = commands[..first].iter().rfind(|line| line.starts_with("router bgp")).unwrap();
    assert_eq!(header, "router bgp 1");
}
