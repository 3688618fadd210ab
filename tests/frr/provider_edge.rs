//! A node with two IP-VRFs between hosts and a leaf that the test provides: real FRR with the configuration that a plan has,
//! in `netns` mode, and a network namespace with the other ends of its links.

use std::net::IpAddr;
use std::sync::mpsc;
use std::time::Duration;

use perouter::frr::client::port::{Presence, Routing};
use perouter::frr::config::render::render;
use perouter::frr::model::RouterConfig;
use perouter::frr::release::Release;
use perouter::kernel::model::NicFacts;
use perouter::kind::{Kind, Spec};
use perouter::plan::{NodeFacts, plan};
use perouter::snapshot::{NodeIdentity, Object, ObjectRef, Snapshot};
use perouter::types::{VrfMode, VrfName};
use serde_json::{Value, json};

use crate::apply;
use crate::router::Router;
use crate::speaker::RawSpeaker;

/// How long a session or a route may take.
pub const LIMIT: Duration = Duration::from_secs(20);
/// The AS of the node.
pub const NODE_AS: u32 = 64514;
/// The AS of a leaf that is not in the node's.
pub const LEAF_AS: u32 = 64512;
/// The host of the IP-VRF red.
pub const HOST: &str = "192.169.10.2";
/// The same host.
pub const HOST_V6: &str = "2001:db8:10::2";

/// An address.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The configuration of a node with one VRF, whose host and leaf are in these ASes.
pub fn configuration(release: Release, host_as: u32, leaf_as: u32) -> RouterConfig {
    let underlay = json!({
        "asn": NODE_AS, "vtepcidr": "100.65.0.0/24", "nics": ["fabric"],
        "protectedPrefixes": ["10.96.0.0/12", "fd00:96::/112"],
        "neighbors": [{"address": "192.168.11.2", "asn": leaf_as}],
    });
    let red = json!({
        "asn": NODE_AS, "vni": 100, "hostasn": host_as, "localcidr": {"ipv4": "192.169.10.0/24", "ipv6": "2001:db8:10::/64"},
    });
    let blue = json!({
        "asn": NODE_AS, "vni": 200, "hostasn": host_as, "localcidr": {"ipv4": "192.169.11.0/24", "ipv6": "2001:db8:11::/64"},
    });
    let object = |kind, name: &str, spec: &Value| {
        let key = ObjectRef::new(kind, "default", name);
        (key, Object::new(Spec::from_json(kind, spec.clone()).unwrap()))
    };
    let snapshot = Snapshot {
        node: NodeIdentity { name: "n".into(), index: 0, labels: [].into() },
        objects: [
            object(Kind::Underlay, "underlay", &underlay),
            object(Kind::L3VNI, "red", &red),
            object(Kind::L3VNI, "blue", &blue),
        ]
        .into(),
        ..Snapshot::default()
    };
    let nic = NicFacts {
        addresses: ["192.168.11.3/24".parse().unwrap()].into(),
        ..NicFacts::unused("fabric".parse().unwrap(), 1500)
    };
    let facts =
        NodeFacts { nics: Some([(nic.name.clone(), nic)].into()), ..NodeFacts::unknown(VrfMode::Netns, release) };
    let plan = plan(&snapshot, &facts);
    assert_eq!(plan.rejected, vec![]);
    plan.frr
}

/// A network namespace of its own with the other ends of the links; what is sent here runs in it.
pub struct Outside {
    work: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    /// Its namespaces are those of this thread.
    pub thread: i32,
}

impl Outside {
    fn new() -> Self {
        let (work, jobs) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (ready, is_ready) = mpsc::channel();
        std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(nix::unistd::gettid().as_raw()).unwrap();
            for job in jobs {
                job();
            }
        });
        let thread = is_ready.recv().unwrap();
        Self { work, thread }
    }

    /// Runs a job in it.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.work.send(Box::new(move || done.send(job()).unwrap())).unwrap();
        result.recv().unwrap()
    }

    /// Runs `ip` in it.
    pub fn ip(&self, arguments: &'static str) {
        self.run(move || {
            let status = std::process::Command::new("ip").args(arguments.split(' ')).status().unwrap();
            assert!(status.success(), "ip {arguments}");
        });
    }

    /// A speaker in it with an established session.
    pub fn speaker(
        &self,
        local: &'static str,
        remote: &'static str,
        asn: u32,
        families: &'static [(u16, u8)],
    ) -> RawSpeaker {
        self.run(move || RawSpeaker::connect(ip(local), ip(remote), asn, families, LIMIT))
    }
}

/// FRR with the configuration in place, and the namespace around it.
pub async fn start(host_as: u32, leaf_as: u32) -> (Router, Outside) {
    let (mut pe, outside) = (Router::start(), Outside::new());
    let (inside, thread) = (pe.pid(), outside.thread);
    let link = |words: String| {
        let status = std::process::Command::new("ip").args(words.split(' ')).status().unwrap();
        assert!(status.success(), "ip {words}");
    };
    for (near, far) in [("fabric", "fabric"), ("pe-100", "host-100"), ("pe-200", "host-200")] {
        link(format!("link add {near} netns {inside} type veth peer name {far} netns {thread}"));
    }
    for arguments in [
        "addr add 192.168.11.2/24 dev fabric",
        "addr add 192.169.10.2/24 dev host-100",
        "addr add 2001:db8:10::2/64 dev host-100 nodad",
        "addr add 192.169.11.2/24 dev host-200",
        "link set fabric up",
        "link set host-100 up",
        "link set host-200 up",
    ] {
        outside.ip(arguments);
    }
    pe.run("ip addr add 192.168.11.3/24 dev fabric && ip link set fabric up && ip addr add 100.65.0.1/32 dev lo");
    let config = configuration(pe.release(), host_as, leaf_as);
    let want = render(&config, &pe.release()).unwrap();
    let vrfs = ["red", "blue"].map(|vrf| perouter::scope::Scope::Vrf(vrf.parse().unwrap()));
    let mut routing = pe.routing();
    assert_eq!(apply::converge(&mut routing, &want.without(&vrfs.into())).await.unwrap(), vec![]);
    for (vrf, vni, net, net6) in
        [("red", 100, "192.169.10", "2001:db8:10::"), ("blue", 200, "192.169.11", "2001:db8:11::")]
    {
        let name: VrfName = vrf.parse().unwrap();
        pe.add_vrf(vrf);
        routing.wait_vrf(&name, Presence::Active, LIMIT).await.unwrap();
        pe.add_vni(vrf, vni, "100.65.0.1");
        pe.run(&format!(
            "ip link set pe-{vni} netns {vrf} && ip -n {vrf} addr add {net}.1/24 dev pe-{vni} && \
             ip -n {vrf} addr add {net6}1/64 dev pe-{vni} nodad && ip -n {vrf} link set pe-{vni} up"
        ));
    }
    assert_eq!(apply::converge(&mut routing, &want).await.unwrap(), vec![]);
    // FRR runs what was sent.
    let running = routing.running().await.unwrap();
    assert!(running.config == want, "FRR runs\n{}\nbut wanted is\n{want}", running.config);
    (pe, outside)
}
