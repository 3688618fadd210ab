use super::*;

pub const RUNNING: &str = "Building configuration...

Current configuration:
!
frr version 8.4.4
frr defaults traditional
!
hostname vm
! \"log file /tmp/bgpd.log debugging\" enabled by \"--log\" startup option
log syslog informational
!
vrf red
 netns /run/netns/red
 vni 100
exit-vrf
!
vrf blue
 netns /run/netns/blue
exit-vrf
!
router bgp 64514
 neighbor 192.168.11.2 remote-as 64512
 !
 address-family l2vpn evpn
  advertise-all-vni
 exit-address-family
!
exit
!
router bgp 64514 vrf red
 bgp router-id 10.0.0.1
exit
!
ip prefix-list pe-vrf-red-in-v4-0a0b0c0d seq 5 permit 10.0.0.0/8
ip prefix-list mine seq 5 permit any
!
bfd
 profile pe-vrf-red-bfd-v4
  passive-mode
 exit
 !
 profile mine
 exit
 !
exit
!
end
";

#[test]
fn running_configuration_becomes_a_tree() {
    let tree = Tree::parse(RUNNING);
    let expected = "\
ip prefix-list mine seq 5 permit any
ip prefix-list pe-vrf-red-in-v4-0a0b0c0d seq 5 permit 10.0.0.0/8
bfd
 profile mine
 profile pe-vrf-red-bfd-v4
  passive-mode
vrf blue
vrf red
 vni 100
router bgp 64514
 neighbor 192.168.11.2 remote-as 64512
 address-family l2vpn evpn
  advertise-all-vni
router bgp 64514 vrf red
 bgp router-id 10.0.0.1
";
    assert_eq!(tree.to_string(), expected);
}

#[test]
fn a_printed_tree_reads_as_itself() {
    let tree = Tree::parse(RUNNING);
    assert_eq!(Tree::parse(&tree.to_string()), tree);
}

#[test]
fn the_tree_is_split_by_scope_and_foreign_lines_are_returned() {
    let mut config = Config::default();
    let foreign = config.absorb(Daemon::Bgpd, Tree::parse(RUNNING));
    let red = Scope::Vrf("red".parse().unwrap());
    assert_eq!(config.scopes().into_iter().collect::<Vec<_>>(), [&Scope::Underlay, &red]);
    assert_eq!(foreign.to_string(), "ip prefix-list mine seq 5 permit any\nbfd\n profile mine\n");
    assert_eq!(config.tree(&Scope::Underlay, Daemon::Bgpd).unwrap().len(), 4);
}

#[test]
fn adding_no_line_adds_no_part() {
    let mut config = Config::default();
    config.add(Scope::Underlay, Daemon::Zebra, &[]);
    assert_eq!(config, Config::default());
}

#[test]
fn identity_is_as_number_and_vni() {
    let mut config = Config::default();
    config.absorb(Daemon::Bgpd, Tree::parse("router bgp 64514 vrf red\n"));
    config.absorb(Daemon::Zebra, Tree::parse("vrf red\n vni 100\n"));
    let identity = config.identity(&Scope::Vrf("red".parse().unwrap()));
    let expected = ScopeIdentity { asn: Asn::try_from(64514).ok(), vni: Vni::try_from(100).ok() };
    assert_eq!(identity, expected);
    assert!(identity.clashes(ScopeIdentity { vni: Vni::try_from(101).ok(), ..identity }));
    assert!(!identity.clashes(ScopeIdentity { vni: None, ..identity }));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "[ a-z0-9!\n\t]{0,300}|\\PC{0,60}") {
        let mut config = Config::default();
        config.absorb(Daemon::Bgpd, Tree::parse(&text));
    }
}
