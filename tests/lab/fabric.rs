//! The network as seen from fabric and hosts. In: nodes of the lab. Out: Type-5 routes, HTTP responses, ping replies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use perouter_lab::evpn::{FabricRoute, type5_routes};
use perouter_lab::node::Node;
use perouter_lab::ping;

/// Exit code of curl on timeout. Any other means that there was a response, if only a TCP reset.
pub const CURL_TIMED_OUT: i32 = 28;

/// Type-5 routes of one prefix on a leaf.
pub fn type5_of(leaf: &Node, prefix: &str) -> Vec<FabricRoute> {
    let mut routes = type5_routes(leaf).unwrap();
    routes.retain(|route| route.prefix.to_string() == prefix);
    routes
}

/// Requests the HTTP page of an address: its text, or curl's exit code.
pub fn fetch(from: &Node, address: &str, seconds: u64) -> Result<String, i32> {
    let address: IpAddr = address.parse().unwrap();
    let url = if address.is_ipv4() { format!("http://{address}/") } else { format!("http://[{address}]/") };
    let limit = seconds.to_string();
    let words = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", &limit, &url];
    let output = from.run_for(Duration::from_secs(seconds * 3 + 30), &words).unwrap();
    if output.success() { Ok(output.stdout) } else { Err(output.code.unwrap_or(-1)) }
}

/// Opens this many connections, each a flow of its own, and counts the responses by the node that sent them. Panics if
/// one gets no response.
pub fn served_by(from: &Node, address: &str, connections: usize) -> BTreeMap<String, usize> {
    let to: SocketAddr = SocketAddr::new(address.parse().unwrap(), 80);
    let request = move || {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(20))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok::<_, std::io::Error>(page)
    };
    let pages = from.within_netns(move || (0..connections).map(|_| request()).collect::<Vec<_>>()).unwrap();
    let mut counts = BTreeMap::new();
    for page in pages {
        let page = page.unwrap_or_else(|error| panic!("{to}: {error}"));
        let node = page.lines().find_map(|line| line.strip_prefix("served by ")).unwrap();
        *counts.entry(node.to_owned()).or_default() += 1;
    }
    counts
}

/// Number of replies to three pings within two seconds.
pub fn ping(from: &Node, address: &str) -> usize {
    ping::replies(from, &[], &[], 2, address).unwrap().len()
}

/// The addresses that reply to ping. All are pinged at the same time.
pub fn reachable<'a>(from: &Node, addresses: &[&'a str]) -> Vec<&'a str> {
    std::thread::scope(|scope| {
        let pings = addresses.iter().map(|address| (*address, scope.spawn(move || ping(from, address))));
        let pings: Vec<_> = pings.collect();
        pings.into_iter().filter_map(|(address, replies)| (replies.join().unwrap() > 0).then_some(address)).collect()
    })
}

/// Segments that a node dropped because of a wrong TCP MD5 password.
pub fn md5_failures(node: &Node) -> u64 {
    let text = node.check(&["nstat", "-asz", "TcpExtTCPMD5Failure"]).unwrap();
    text.lines().last().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}
