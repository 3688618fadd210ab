//! One of FRR's daemons in memory. In: lines, which it processes as the real one (stanzas, `no`, values that replace each other).
//! Out: what FRR would print, and the status of each line. Does not use [`crate::frr::stanza::rules`], so that a mistake there
//! shows.

use super::vty::ReplyStatus;
use crate::frr::config::line::Line;
use crate::frr::config::tree::Tree;

/// Stanza headers by their first words.
const HEADERS: [&str; 6] = ["router bgp ", "address-family ", "vrf ", "profile ", "route-map ", "bfd"];
/// Commands that set one value, by the words before it. `*` is any word.
const SINGLE: [&str; 28] = [
    "bgp router-id",
    "bgp graceful-restart stalepath-time",
    "bgp graceful-restart restart-time",
    "neighbor * remote-as",
    "neighbor * interface remote-as",
    "neighbor * bfd profile",
    "neighbor * password",
    "neighbor * port",
    "neighbor * ebgp-multihop",
    "neighbor * update-source",
    "neighbor * timers connect",
    "neighbor * maximum-prefix",
    "aggregate-address *",
    "advertise * unicast",
    "match ip address prefix-list",
    "match ipv6 address prefix-list",
    "match ip next-hop prefix-list",
    "match ipv6 next-hop prefix-list",
    "match ipv6 next-hop address",
    "neighbor * path-attribute discard",
    "ip prefix-list * seq *",
    "ipv6 prefix-list * seq *",
    "set local-preference",
    "set community",
    "detect-multiplier",
    "transmit-interval",
    "receive-interval",
    "minimum-ttl",
];
/// Defaults, which are not printed.
const DEFAULTS: [&str; 3] = ["detect-multiplier 3", "transmit-interval 300", "receive-interval 300"];
/// Settings that are on by default and printed when they are off.
const ON: [&str; 4] =
    ["bgp ebgp-requires-policy", "bgp default ipv4-unicast", "bgp network import-check", "zebra nexthop kernel enable"];

/// The configuration of one daemon, changed line by line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FakeDaemon {
    tree: Tree,
    context: Vec<Line>,
}

impl FakeDaemon {
    /// A daemon that runs `tree`.
    pub fn running(tree: Tree) -> Self {
        Self { tree, context: vec![] }
    }

    /// Adds to what it runs.
    pub(super) fn add(&mut self, tree: &Tree) {
        for (line, below) in &tree.0 {
            self.tree.0.entry(line.clone()).or_default().0.extend(below.0.clone());
        }
    }

    /// The end of a conversation.
    pub(super) fn leave(&mut self) {
        self.context.clear();
    }

    /// Its configuration as FRR prints it: without empty stanzas.
    pub fn config(&self) -> Tree {
        let mut tree = self.tree.clone();
        prune(&mut tree);
        tree
    }

    /// Processes one line.
    pub fn execute(&mut self, line: &Line) -> ReplyStatus {
        let text = line.send();
        if text == "end" || text == CONFIGURE {
            self.context.clear();
            return ReplyStatus::Success;
        }
        if text.starts_with("exit") {
            return if self.context.pop().is_some() { ReplyStatus::Success } else { ReplyStatus::Unknown };
        }
        let context = self.context.clone();
        let at = context.iter().fold(&mut self.tree, |tree, header| tree.0.entry(header.clone()).or_default());
        // An L2VNI; elsewhere it is a line.
        let is_l2vni = text.starts_with("vni ") && context.last().is_some_and(|header| header.send() == EVPN);
        if is_l2vni || HEADERS.iter().any(|header| text.starts_with(header)) {
            at.0.entry(line.clone()).or_default();
            self.context.push(line.clone());
            return ReplyStatus::Success;
        }
        match text.strip_prefix("no ") {
            Some(rest) => negate(at, line, rest),
            None => set(at, line),
        }
    }
}

const CONFIGURE: &str = "configure terminal";
const EVPN: &str = "address-family l2vpn evpn";

fn prune(tree: &mut Tree) {
    tree.0.values_mut().for_each(prune);
    let bare = ["address-family", "bfd", "vrf"];
    tree.0.retain(|line, below| !(below.is_empty() && bare.contains(&line.words().next().unwrap_or_default())));
}

fn set(at: &mut Tree, line: &Line) -> ReplyStatus {
    let text = line.send();
    if at.0.remove(&Line::new(&format!("no {text}"))).is_some() || ON.contains(&text) {
        return ReplyStatus::Success;
    }
    let key = key(text);
    at.0.retain(|other, _| self::key(other.send()) != key);
    if !DEFAULTS.contains(&text) {
        at.0.insert(line.clone(), Tree::default());
    }
    ReplyStatus::Success
}

fn negate(at: &mut Tree, line: &Line, rest: &str) -> ReplyStatus {
    let words: Vec<_> = rest.split(' ').collect();
    if ON.contains(&rest) || matches!(words.as_slice(), ["neighbor", _, "send-community", "extended"]) {
        at.0.insert(line.clone(), Tree::default());
        return ReplyStatus::Success;
    }
    if let ["neighbor", peer, "remote-as" | "interface", ..] = words.as_slice() {
        forget(at, peer);
        return ReplyStatus::Success;
    }
    if HEADERS.iter().any(|header| rest.starts_with(header)) {
        return if at.0.remove(&Line::new(rest)).is_some() { ReplyStatus::Success } else { ReplyStatus::Warning };
    }
    let before = at.0.len();
    let timers = matches!(words.as_slice(), ["neighbor", _, "timers", ..]);
    at.0.retain(|other, _| {
        let other_words: Vec<_> = other.words().collect();
        let is_it = other_words.starts_with(&words);
        let connect = |words: &[&str]| words.get(3) == Some(&"connect");
        !is_it || timers && connect(&words) != connect(&other_words)
    });
    if at.0.len() < before { ReplyStatus::Success } else { ReplyStatus::Warning }
}

fn forget(tree: &mut Tree, peer: &str) {
    tree.0.retain(|line, _| !line.words().skip_while(|word| *word == "no").take(2).eq(["neighbor", peer]));
    tree.0.values_mut().for_each(|below| forget(below, peer));
}

/// Lines with one key replace each other.
fn key(text: &str) -> String {
    let words: Vec<_> = text.split(' ').collect();
    for pattern in SINGLE {
        let parts: Vec<_> = pattern.split(' ').collect();
        let fits = words.len() >= parts.len() && parts.iter().zip(&words).all(|(p, w)| *p == "*" || p == w);
        if fits {
            return words.iter().take(parts.len()).copied().collect::<Vec<_>>().join(" ");
        }
    }
    match words.as_slice() {
        ["neighbor", peer, "timers", ..] => format!("neighbor {peer} timers"),
        ["neighbor", peer, what @ ("prefix-list" | "route-map"), _, way] => format!("neighbor {peer} {what} {way}"),
        [family, "prefix-list", name, "seq", number, ..] => format!("{family} {name} {number}"),
        _ => text.to_owned(),
    }
}
