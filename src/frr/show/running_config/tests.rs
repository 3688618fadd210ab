use std::collections::BTreeSet;

use super::*;
use crate::frr::config::tree::{Config, tests::RUNNING};

/// What zebra, bgpd and bfdd print: [`RUNNING`] with an instance of blue, and a prefix list of red that is not in one piece.
fn texts() -> [String; 3] {
    let (zebra, rest) = RUNNING.split_once("router bgp 64514\n").unwrap();
    let (bgpd, bfdd) = rest.split_once("bfd\n").unwrap();
    let more = "router bgp 64514 vrf blue
 bgp router-id 10.0.0.1
exit
!
ip prefix-list pe-vrf-red-in-v4-0a0b0c0d seq 10 permit 11.0.0.0/8
!
";
    [zebra.to_owned(), format!("router bgp 64514\n{bgpd}{more}"), format!("bfd\n{bfdd}")]
}

fn prints(bgpd: &str, bfdd: &str) -> [DaemonOutput; 3] {
    let [zebra, ..] = texts();
    let print = |daemon, text: &str| DaemonOutput { daemon, owner: daemon, text: text.to_owned() };
    [print(Daemon::Zebra, &zebra), print(Daemon::Bgpd, bgpd), print(Daemon::Bfdd, bfdd)]
}

/// The same without a split.
fn whole(prints: &[DaemonOutput]) -> RunningConfig {
    let mut running = RunningConfig { config: Config::default(), foreign: BTreeMap::new() };
    for print in prints {
        let foreign = running.config.absorb(print.owner, Tree::parse(&print.text));
        if !foreign.is_empty() {
            running.foreign.insert(print.daemon, foreign);
        }
    }
    running
}

fn scope(vrf: &str) -> Scope {
    Scope::Vrf(vrf.parse().unwrap())
}

#[test]
fn the_parts_are_those_of_the_whole() {
    let [_, bgpd, bfdd] = texts();
    let prints = prints(&bgpd, &bfdd);
    let running = RunningConfigReader::default().read(&prints);
    assert_eq!(*running, whole(&prints));
    assert_eq!(running.foreign.len(), 2, "{:?}", running.foreign);
    assert_eq!(running.config.scopes(), BTreeSet::from([&Scope::Underlay, &scope("blue"), &scope("red")]));
}

#[test]
fn a_stanza_with_nothing_in_it_is_nobodys() {
    let [_, bgpd, _] = texts();
    let prints = prints(&bgpd, "!\nbfd\n !\nexit\n!\n");
    let running = RunningConfigReader::default().read(&prints);
    assert_eq!(*running, whole(&prints));
    assert_eq!(running.foreign.keys().collect::<Vec<_>>(), [&Daemon::Bgpd]);
}

#[test]
fn a_change_of_one_scope_leaves_the_others_shared() {
    let [_, bgpd, bfdd] = texts();
    let mut reader = RunningConfigReader::default();
    let first = reader.read(&prints(&bgpd, &bfdd));
    assert!(Arc::ptr_eq(&first, &reader.read(&prints(&bgpd, &bfdd))));
    let changes = [
        (bgpd.replace("permit 10.0.0.0/8", "permit 12.0.0.0/8"), bfdd.clone()),
        (bgpd.clone(), bfdd.replacen("  passive-mode\n", "  receive-interval 100\n", 1)),
        (bgpd.replace("router bgp 64514 vrf red\n bgp router-id 10.0.0.1\nexit\n", ""), bfdd.clone()),
    ];
    for (changed_bgpd, changed_bfdd) in changes {
        let prints = prints(&changed_bgpd, &changed_bfdd);
        let now = reader.read(&prints);
        assert_eq!(*now, whole(&prints));
        assert!(!now.config.is_shared(&scope("red"), &first.config));
        for other in [Scope::Underlay, scope("blue")] {
            assert!(now.config.is_shared(&other, &first.config), "{other}");
        }
        assert_eq!(*reader.read(&super::tests::prints(&bgpd, &bfdd)), *first);
    }
}

#[test]
fn a_scope_that_goes_is_forgotten() {
    let [_, bgpd, bfdd] = texts();
    let mut reader = RunningConfigReader::default();
    reader.read(&prints(&bgpd, &bfdd));
    assert_eq!(reader.read(&[]).config, Config::default());
    assert_eq!(*reader.read(&prints(&bgpd, &bfdd)), whole(&prints(&bgpd, &bfdd)));
}
