use std::collections::BTreeSet;

use super::*;
use crate::frr::tree::Config;

const ZEBRA: &str = "!
vrf red
 netns /run/netns/red
 vni 100
exit-vrf
!
vrf blue
 netns /run/netns/blue
exit-vrf
!
";
const BGPD: &str = "!
router bgp 64514
 neighbor 192.168.11.2 remote-as 64512
 !
 address-family l2vpn evpn
  advertise-all-vni
 exit-address-family
exit
!
router bgp 64514 vrf red
 bgp router-id 10.0.0.1
exit
!
router bgp 64514 vrf blue
 bgp router-id 10.0.0.1
exit
!
ip prefix-list pe-vrf-red-in-v4-0a0b0c0d seq 5 permit 10.0.0.0/8
ip prefix-list mine seq 5 permit any
ip prefix-list pe-vrf-red-in-v4-0a0b0c0d seq 10 permit 11.0.0.0/8
!
end
";
const BFDD: &str = "!
bfd
 profile pe-vrf-red-bfd-v4
  passive-mode
 exit
 !
 profile mine
  passive-mode
 exit
 !
exit
!
";

fn prints(bgpd: &str, bfdd: &str) -> [Print; 3] {
    let print = |daemon, text: &str| Print { daemon, owner: daemon, text: text.to_owned() };
    [print(Daemon::Zebra, ZEBRA), print(Daemon::Bgpd, bgpd), print(Daemon::Bfdd, bfdd)]
}

/// The same without a split.
fn whole(prints: &[Print]) -> Running {
    let mut running = Running { config: Config::default(), foreign: BTreeMap::new() };
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
    let prints = prints(BGPD, BFDD);
    let running = Reader::default().read(&prints);
    assert_eq!(*running, whole(&prints));
    assert_eq!(running.foreign.len(), 2, "{:?}", running.foreign);
    assert_eq!(running.config.scopes(), BTreeSet::from([&Scope::Underlay, &scope("blue"), &scope("red")]));
}

#[test]
fn a_stanza_with_nothing_in_it_is_nobodys() {
    let prints = prints(BGPD, "!\nbfd\n !\nexit\n!\n");
    let running = Reader::default().read(&prints);
    assert_eq!(*running, whole(&prints));
    assert_eq!(running.foreign.keys().collect::<Vec<_>>(), [&Daemon::Bgpd]);
}

#[test]
fn a_change_of_one_scope_leaves_the_others_shared() {
    let mut reader = Reader::default();
    let first = reader.read(&prints(BGPD, BFDD));
    assert!(Arc::ptr_eq(&first, &reader.read(&prints(BGPD, BFDD))));
    let changes = [
        (BGPD.replace("permit 10.0.0.0/8", "permit 12.0.0.0/8"), BFDD.to_owned()),
        (BGPD.to_owned(), BFDD.replacen("  passive-mode\n", "  receive-interval 100\n", 1)),
        (BGPD.replace("router bgp 64514 vrf red\n bgp router-id 10.0.0.1\nexit\n", ""), BFDD.to_owned()),
    ];
    for (bgpd, bfdd) in changes {
        let prints = prints(&bgpd, &bfdd);
        let now = reader.read(&prints);
        assert_eq!(*now, whole(&prints));
        assert!(!now.config.is_shared(&scope("red"), &first.config));
        for other in [Scope::Underlay, scope("blue")] {
            assert!(now.config.is_shared(&other, &first.config), "{other}");
        }
        assert_eq!(*reader.read(&super::tests::prints(BGPD, BFDD)), *first);
    }
}

#[test]
fn a_scope_that_goes_is_forgotten() {
    let mut reader = Reader::default();
    reader.read(&prints(BGPD, BFDD));
    assert_eq!(reader.read(&[]).config, Config::default());
    assert_eq!(*reader.read(&prints(BGPD, BFDD)), whole(&prints(BGPD, BFDD)));
}
