//! The Type-5 routes of perouter as another implementation reads them: `GoBGP` as a leaf. It decodes what the router advertises, and
//! the router imports what it advertises.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy's exception for tests covers `#[test]` functions alone

#[path = "frr/apply.rs"]
mod apply;
#[allow(dead_code)]
#[path = "frr/provider_edge.rs"]
mod provider_edge;
#[allow(dead_code)]
#[path = "frr/router.rs"]
mod router;
#[allow(dead_code)]
#[path = "frr/speaker.rs"]
mod speaker;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use provider_edge::{HOST, HOST_V6, LEAF_AS, LIMIT, NODE_AS, Outside, start};
use serde_json::Value;
use speaker::{AS_PATH, Attribute, IPV4_UNICAST, IPV6_UNICAST, NEXT_HOP, ORIGIN, WELL_KNOWN, mp_reach};

/// `gobgpd` in the namespace of the leaf.
struct GoBgp {
    process: Child,
    net: String,
    directory: tempfile::TempDir,
}

impl Drop for GoBgp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl GoBgp {
    fn start(outside: &Outside) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gobgpd.yaml");
        let config = format!(
            "global: {{config: {{as: {LEAF_AS}, router-id: 100.66.0.9, port: 179, local-address-list: [192.168.11.2]}}}}\n\
             neighbors:\n\
             - config: {{neighbor-address: 192.168.11.3, peer-as: {NODE_AS}}}\n\
             \x20 timers: {{config: {{connect-retry: 1, idle-hold-time-after-reset: 1}}}}\n\
             \x20 afi-safis: [{{config: {{afi-safi-name: ipv4-unicast}}}}, {{config: {{afi-safi-name: l2vpn-evpn}}}}]\n"
        );
        std::fs::write(&file, config).unwrap();
        let net = format!("/proc/{}/ns/net", outside.thread);
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let process = Command::new("nsenter")
            .arg(format!("--net={net}"))
            .args(["gobgpd", "--config-file"])
            .arg(&file)
            .args(["--config-type", "yaml", "--api-hosts", "127.0.0.1:50051", "--pprof-disable"])
            .stdout(log.try_clone().unwrap())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        Self { process, net, directory }
    }

    fn run(&self, words: &str) -> Option<String> {
        let output = Command::new("nsenter")
            .arg(format!("--net={}", self.net))
            .arg("gobgp")
            .args(words.split(' '))
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// The Type-5 route of a prefix that the router advertises.
    fn type5(&self, prefix: &str) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let rib: Value =
                self.run("global rib -a evpn -j").and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            let paths = rib.as_object().into_iter().flatten().flat_map(|(_, paths)| paths.as_array().unwrap());
            let is_it = |path: &&Value| path["nlri"]["type"] == 5 && path["nlri"]["value"]["prefix"] == prefix;
            if let Some(path) = paths.clone().find(is_it) {
                return path.clone();
            }
            let state = || self.run("neighbor").unwrap_or_default();
            let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "GoBGP has no Type-5 route for {prefix}: {rib:#}\n{}\n{}", state(), log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn attribute(path: &Value, type_: u64) -> &Value {
    let attributes = path["attrs"].as_array().unwrap();
    attributes.iter().find(|attribute| attribute["type"] == type_).unwrap_or(&Value::Null)
}

/// RFC 9136 section 3 and RFC 9135 section 8: what every Type-5 route of red has.
fn is_of_red(path: &Value, gateway: &str) {
    println!("{path}");
    let nlri = &path["nlri"]["value"];
    assert_eq!(nlri["gateway"], gateway, "interface-less: no gateway address");
    assert_eq!(nlri["label"], 100, "the VNI");
    assert_eq!(nlri["esi"], "single-homed");
    assert_eq!(nlri["etag"], 0);
    assert_eq!(nlri["rd"]["admin"], "10.0.0.1", "the router ID");
    let communities = attribute(path, 16)["value"].as_array().unwrap();
    let targets: Vec<String> = communities
        .iter()
        .filter(|community| community["subtype"] == 2)
        .map(|community| community["value"].to_string())
        .collect();
    assert_eq!(targets, ["\"64514:100\""]);
    let macs: Vec<&Value> = communities.iter().filter_map(|community| community.get("mac")).collect();
    assert_eq!(macs.len(), 1, "one router MAC: {communities:?}");
    assert!(communities.iter().any(|community| community["tunnel_type"] == 8), "VXLAN: {communities:?}");
    let next_hop = path["attrs"].as_array().unwrap().iter().find_map(|attribute| attribute.get("nexthop"));
    assert_eq!(next_hop.unwrap(), "100.65.0.1");
}

async fn routes_are_exchanged_with_gobgp() {
    let (mut pe, outside) = start(64515, LEAF_AS).await;
    // Its API listens there.
    outside.ip("link set lo up");
    let gobgp = GoBgp::start(&outside);
    let path: Vec<u8> = [2, 1].into_iter().chain(64515_u32.to_be_bytes()).collect();
    let base = [Attribute::new(WELL_KNOWN, ORIGIN, [0]), Attribute::new(WELL_KNOWN, AS_PATH, path)];
    let mut host = outside.speaker(HOST, "192.169.10.1", 64515, &[IPV4_UNICAST]);
    let next_hop = Attribute::new(WELL_KNOWN, NEXT_HOP, [192, 169, 10, 2]);
    host.update(&[&base[..], &[next_hop]].concat(), &["172.30.0.11/32".parse().unwrap()]);
    let mut host6 = outside.speaker(HOST_V6, "2001:db8:10::1", 64515, &[IPV6_UNICAST]);
    let own: std::net::Ipv6Addr = HOST_V6.parse().unwrap();
    let reach = mp_reach(IPV6_UNICAST, &own.octets(), "2001:db8:30::11/128".parse().unwrap());
    host6.update(&[&base[..], &[reach]].concat(), &[]);

    is_of_red(&gobgp.type5("172.30.0.11/32"), "0.0.0.0");
    is_of_red(&gobgp.type5("2001:db8:30::11/128"), "::");

    // A leaf's route into red, which the router installs over the tunnel.
    let words = "global rib add -a evpn prefix 172.31.9.0/24 gw 0.0.0.0 etag 0 label 100 rd 100.66.0.9:2 rt 64514:100 encap vxlan \
                 router-mac 02:00:64:42:00:09 nexthop 192.168.11.2";
    gobgp.run(words).unwrap_or_else(|| panic!("gobgp {words}"));
    let end = Instant::now() + LIMIT;
    loop {
        let route = pe.run("ip -n red route show 172.31.9.0/24");
        if route.contains("via 192.168.11.2 dev br-pe-100") || route.contains("via 192.168.11.2 dev br100") {
            println!("{route}");
            break;
        }
        assert!(Instant::now() < end, "the route of GoBGP is not installed: {route}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!((host.end(), host6.end()), (None, None), "no session is reset");
}

#[test]
fn gobgp_decodes_every_type5_route_and_its_route_is_installed() {
    if router::can_run() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(routes_are_exchanged_with_gobgp());
    }
}
