//! The fabric's view. In: nodes of the lab. Out: Type-5 routes, pages, pings.

use std::net::IpAddr;
use std::time::Duration;

use perouter_lab::evpn::{Type5, type5_routes};
use perouter_lab::node::Node;

/// Exit code of curl when the time is up; any other means that somebody answered.
pub const CURL_TIMED_OUT: i32 = 28;

/// Type-5 routes of one prefix at a leaf.
pub fn type5_of(leaf: &Node, prefix: &str) -> Vec<Type5> {
    let mut routes = type5_routes(leaf).unwrap();
    routes.retain(|route| route.prefix.to_string() == prefix);
    routes
}

/// Asks for a page: its text, or curl's exit code.
pub fn fetch(from: &Node, address: &str, seconds: u64) -> Result<String, i32> {
    let address: IpAddr = address.parse().unwrap();
    let url = if address.is_ipv4() { format!("http://{address}/") } else { format!("http://[{address}]/") };
    let limit = seconds.to_string();
    let words = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", &limit, &url];
    let output = from.run_for(Duration::from_secs(seconds * 3 + 30), &words).unwrap();
    if output.success() { Ok(output.stdout) } else { Err(output.code.unwrap_or(-1)) }
}

/// Answers to three pings within two seconds.
pub fn ping(from: &Node, address: &str) -> usize {
    let output = from.run(&["ping", "-n", "-c", "3", "-i", "0.2", "-w", "2", address]).unwrap();
    output.stdout.lines().filter(|line| line.contains("bytes from")).count()
}

/// Those of the addresses that answer to three pings; all are asked at the same time.
pub fn answering<'a>(from: &Node, addresses: &[&'a str]) -> Vec<&'a str> {
    std::thread::scope(|scope| {
        let asked = addresses.iter().map(|address| (*address, scope.spawn(move || ping(from, address))));
        let asked: Vec<_> = asked.collect();
        asked.into_iter().filter_map(|(address, answers)| (answers.join().unwrap() > 0).then_some(address)).collect()
    })
}
