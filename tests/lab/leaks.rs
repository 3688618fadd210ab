//! VRF isolation under hostile input: thousands of crafted frames from red, blue and the fabric, and every place where one of
//! them is seen. No frame of an IP-VRF may be seen outside of it, none of the fabric inside of one.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use perouter_lab::node::Node;

use super::capture::{Captures, Injector, Place, Seen};
use super::crafted::{BLUE, FABRIC, RED, frames};
use super::fixture::{Fixture, Setup, until};
use super::kernel_state::{in_router, in_vrf};
use super::packet::{Mac, VXLAN_PORT, vxlan};

const VTEP: &str = "100.65.0.1";

/// Whether a frame of this origin may be seen there.
fn is_inside(place: &Place) -> bool {
    let Place { netns, interface, vni, origin } = place;
    let of = |colour: &str, first: u32| {
        let names = [format!("vni{first}"), format!("br-pe-{first}"), format!("pe-{first}"), format!("host-{first}")];
        let leaf = [format!("br{first}"), format!("host{colour}")];
        // Encapsulated, or in the VRF, on its leaves and hosts.
        *vni == Some(first)
            || interface == colour
            || *netns == format!("vrf:{colour}")
            || names.contains(interface)
            || netns.starts_with("leaf") && leaf.contains(interface)
            || netns.starts_with("host") && netns.ends_with(colour)
    };
    match *origin {
        // 101 is red's VNI after the edit.
        RED => of("red", 100) || of("red", 101),
        BLUE => of("blue", 200),
        // The fabric itself, and the NIC of the router.
        FABRIC => is_underlay(place),
        _ => false,
    }
}

/// The fabric itself and the NIC, which is in the router or, without one, with the host.
fn is_underlay(place: &Place) -> bool {
    let Place { netns, interface, .. } = place;
    match netns.as_str() {
        "leafkind/" | "spine/" => true,
        "leafA/" | "leafB/" => interface == "spine" || interface == "lo",
        "router" => interface == "toswitch" || interface == "lo",
        "host" => interface == "toswitch",
        _ => false,
    }
}

/// The senders of all origins, and the captures.
struct Suite {
    node: Node,
    leafkind: Node,
    captures: Captures,
}

/// How many frames each origin sent.
type Sent = BTreeMap<u8, usize>;

impl Suite {
    fn new(fixture: &Fixture) -> Self {
        let node = fixture.hosts[0].node().clone();
        let mut captures = Captures::default();
        captures.add(&node.netns(), "host");
        captures.add(&node.file("/run/netns/perouter"), "router");
        captures.add_all(node.file("/run/perouter/ns"), "vrf:");
        for name in ["spine", "leafkind", "leafA", "leafB", "hostA_red", "hostA_blue", "hostB_red", "hostB_blue"] {
            let of_lab = fixture.node(name);
            let name = if name.starts_with("host") { name.to_owned() } else { format!("{name}/") };
            captures.add(&of_lab.netns(), &name);
        }
        for leaf in ["leafA", "leafB"] {
            captures
                .add_all(fixture.node(leaf).file("/run/leaf-vrf"), if leaf == "leafA" { "leafA:" } else { "leafB:" });
        }
        Self { node, leafkind: fixture.node("leafkind").clone(), captures }
    }

    /// The MAC address of a link, as `ip` prints it in its namespace.
    fn mac(&self, words: &[String]) -> Option<Mac> {
        let text = self.node.run(words).ok()?.stdout;
        let mut parts = text.split_once("link/ether ")?.1.split(' ').next()?.split(':');
        let mut mac = [0; 6];
        for byte in &mut mac {
            *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
        }
        Some(mac)
    }

    fn link_mac(&self, vrf: &str, link: &str) -> Option<Mac> {
        self.mac(&in_vrf(&self.node, vrf, &["ip", "-o", "link", "show", link]))
    }

    fn nic_mac(&self) -> Option<Mac> {
        let words = [&in_router()[..], &["ip", "-o", "link", "show", "toswitch"]].concat();
        self.mac(&words.into_iter().map(str::to_owned).collect::<Vec<_>>())
    }

    /// One round of all frames from all origins: of red and blue from the host's end of the veth pair and, encapsulated,
    /// from the fabric; of the fabric to the NIC. A link that does not exist at the moment sends nothing.
    fn round(&self, vnis: [u32; 2]) -> Sent {
        let mut sent = Sent::new();
        let mut count = |origin: u8, done: bool| *sent.entry(origin).or_default() += usize::from(done);
        for (origin, colour, vni) in [(RED, "red", vnis[0]), (BLUE, "blue", vnis[1])] {
            if let Some(router) = self.link_mac(colour, &format!("pe-{vni}"))
                && let Some(injector) = Injector::open(&self.node.netns(), &format!("host-{vni}"))
            {
                paced(&frames(origin, router), |frame| count(origin, injector.send(frame)));
            }
            // The router MAC of the VTEP.
            let encapsulated = frames(origin, [0x02, 0, 100, 65, 0, 1]);
            let socket = self.leafkind.within_netns(|| UdpSocket::bind("192.168.11.2:0")).unwrap().unwrap();
            let vtep: IpAddr = VTEP.parse().unwrap();
            paced(&encapsulated, |frame| count(origin, socket.send_to(&vxlan(vni, frame), (vtep, VXLAN_PORT)).is_ok()));
        }
        if let (Some(nic), Some(injector)) = (self.nic_mac(), Injector::open(&self.leafkind.netns(), "node0")) {
            paced(&frames(FABRIC, nic), |frame| count(FABRIC, injector.send(frame)));
            // VNIs that nobody has.
            let unknown = frames(FABRIC, [0x02, 0, 100, 65, 0, 1]);
            let socket = self.leafkind.within_netns(|| UdpSocket::bind("192.168.11.2:0")).unwrap().unwrap();
            for vni in [0, 300, 0x00ff_ffff] {
                let vtep: IpAddr = VTEP.parse().unwrap();
                paced(&unknown[..200], |frame| {
                    count(FABRIC, socket.send_to(&vxlan(vni, frame), (vtep, VXLAN_PORT)).is_ok());
                });
            }
        }
        sent
    }

    /// What was seen since the last call: frames in their VRF, and places outside of it.
    #[track_caller]
    fn assert_isolated(&self, what: &str, sent: &Sent, with_ipv6_sources: bool) {
        // Answers of hosts, and errors that a router sends later.
        std::thread::sleep(Duration::from_millis(1500));
        let seen: Seen = self.captures.take();
        let (inside, outside): (Seen, Seen) = seen.into_iter().partition(|(place, _)| is_inside(place));
        let total = |seen: &Seen| seen.values().map(|(count, _)| count).sum::<usize>();
        let of = |origin: &u8| sent.get(origin).copied().unwrap_or_default();
        println!(
            "{what}: {} frames of red, {} of blue, {} of the fabric; seen {} times inside, {} times outside",
            of(&RED),
            of(&BLUE),
            of(&FABRIC),
            total(&inside),
            total(&outside)
        );
        let counts = |place: &Place, frame: &[u8]| {
            (with_ipv6_sources || !is_ipv6(frame)) && !(place.interface == "lo" && is_sent_to_its_source(frame))
        };
        let outside: Seen = outside.into_iter().filter(|(place, (_, frame))| counts(place, frame)).collect();
        for (place, (count, frame)) in &outside {
            println!("  {count} at {place:?}, the first {}", hex(frame));
        }
        assert_eq!(outside.keys().collect::<Vec<_>>(), Vec::<&Place>::new(), "{what}");
        // The captures capture.
        assert!(total(&inside) > sent.values().sum::<usize>() / 2, "{what}: {inside:#?}");
    }
}

/// Such as an `ICMPv6` error of a host about a packet that has an address of the host as its source: it reaches nobody.
fn is_sent_to_its_source(frame: &[u8]) -> bool {
    is_ipv6(frame) && frame.len() >= 54 && frame[22..38] == frame[38..54]
}

fn is_ipv6(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x86, 0xdd])
}

fn hex(frame: &[u8]) -> String {
    frame.iter().take(120).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A pause after every so many frames, so that no queue on the way drops some.
fn paced(frames: &[Vec<u8>], mut send: impl FnMut(&[u8])) {
    for chunk in frames.chunks(50) {
        for frame in chunk {
            send(frame);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Rounds in the background, until stopped.
struct Rounds {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    thread: JoinHandle<Sent>,
}

impl Rounds {
    fn start(suite: &Arc<Suite>) -> Self {
        let (stop, done, suite) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::clone(suite));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            let mut sent = Sent::new();
            while !stopped.load(Ordering::Relaxed) {
                for vnis in [[100, 200], [101, 200]] {
                    for (origin, count) in suite.round(vnis) {
                        *sent.entry(origin).or_default() += count;
                    }
                }
                counter.fetch_add(1, Ordering::Relaxed);
            }
            sent
        });
        Self { stop, done, thread }
    }

    /// Waits for another full round.
    fn await_one(&self) {
        let now = self.done.load(Ordering::Relaxed);
        until("a round of frames", Duration::from_secs(120), || {
            (self.done.load(Ordering::Relaxed) > now + 1).then_some(())
        });
    }

    fn finish(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The example with IPv6 in both IP-VRFs.
fn dual_stack() -> Setup {
    let ipv6 = |subnet: &str, prefix: &str| format!("ipv4: {subnet}\n    ipv6: {prefix}");
    Setup::example()
        .with_leaf_b()
        .replacing("red.yaml", "ipv4: 192.169.10.0/24", &ipv6("192.169.10.0/24", "2001:db8:10::/64"))
        .replacing("blue.yaml", "ipv4: 192.169.11.0/24", &ipv6("192.169.11.0/24", "2001:db8:11::/64"))
}

#[test]
fn no_crafted_frame_leaves_its_vrf() {
    let Some(mut fixture) = Fixture::start_with("leaks", &[0], &dual_stack()) else { return };
    fixture.router().await_ready(&[100, 200]);
    // As on a Kubernetes node.
    let node = fixture.router().node.clone();
    node.check(&["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]).unwrap();
    // Else its status has a note.
    let ipv6 = fixture.router().status().unwrap().notes.iter().all(|note| !note.message.contains("CONFIG_NFT_FIB"));
    let suite = Arc::new(Suite::new(&fixture));
    let sent = suite.round([100, 200]);
    suite.assert_isolated("at rest", &sent, ipv6);

    let rounds = Rounds::start(&suite);
    fixture.edit("red.yaml", "vni: 100", "vni: 101");
    fixture.router().await_ready(&[101, 200]);
    rounds.await_one();
    fixture.edit("red.yaml", "vni: 101", "vni: 100");
    fixture.router().await_ready(&[100, 200]);
    suite.assert_isolated("edits of the VNI", &rounds.finish(), ipv6);

    let rounds = Rounds::start(&suite);
    fixture.edit("red.yaml", "vni: 100", "vni: 101");
    fixture.router().kill();
    rounds.await_one();
    fixture.router().start();
    fixture.router().await_ready(&[101, 200]);
    fixture.router().kill();
    fixture.edit("red.yaml", "vni: 101", "vni: 100");
    fixture.router().start();
    fixture.router().await_ready(&[100, 200]);
    suite.assert_isolated("perouter killed in an edit", &rounds.finish(), ipv6);

    let rounds = Rounds::start(&suite);
    let red = std::fs::read_to_string(fixture.path("red.yaml")).unwrap();
    for _ in 0..2 {
        fixture.remove("red.yaml");
        fixture.router().await_ready(&[200]);
        fixture.write("red.yaml", &red);
        fixture.router().await_ready(&[100, 200]);
    }
    suite.assert_isolated("teardowns of red", &rounds.finish(), ipv6);

    let rounds = Rounds::start(&suite);
    fixture.router().terminate();
    let output = fixture.router().perouter(&["cleanup"]);
    assert!(output.success(), "{output:?}");
    suite.assert_isolated("perouter cleanup", &rounds.finish(), ipv6);
}
