//! The daemons check the rendered configuration, where they are installed.

use super::*;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

fn config() -> SpeakerConfig {
    let [local, neighbor] = ["192.0.2.2", "192.0.2.1"].map(|text| text.parse().unwrap());
    let full = Peering {
        port: 180,
        passive: true,
        password: Some("a-b".into()),
        multihop: true,
        graceful_restart: true,
        bfd: Some((100, 3)),
        hold: 9,
        ..Peering::new(local, neighbor, 64514)
    };
    let [local6, neighbor6] = ["2001:db8::2", "2001:db8::1"].map(|text| text.parse().unwrap());
    SpeakerConfig {
        asn: 64515,
        router_id: Ipv4Addr::new(10, 0, 0, 77),
        peerings: vec![full, Peering::new(local6, neighbor6, 64514)],
        announced: ["172.30.0.10/32", "2001:db8:172::10/128"].map(|text| text.parse().unwrap()).into(),
    }
}

/// Whether a daemon accepts a configuration, and its output; `None` where it is not installed.
fn checked(text: &str, words: &[&str]) -> Option<(bool, String)> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    match Command::new(words[0]).args(&words[1..]).arg(file.path()).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) => {
            eprintln!("skipped: {}: {error}", words[0]);
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have {}", words[0]);
            None
        }
    }
}

#[test]
fn bird_accepts_its_configuration() {
    let text = bird_conf(&config());
    if let Some((accepted, output)) = checked(&text, &["bird", "-p", "-c"]) {
        assert!(accepted, "{output}\n{text}");
    }
    for line in [
        "route 172.30.0.10/32 blackhole",
        "neighbor 192.0.2.1 port 180 as 64514",
        "passive on",
        "password \"a-b\"",
        "local 2001:db8::2 port 179 as 64515",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
}

#[test]
fn gobgp_accepts_its_configuration() {
    let text = gobgp_conf(&config());
    if let Some((accepted, output)) = checked(&text, &["gobgpd", "-p", "--dry-run", "-f"]) {
        assert!(accepted && !output.contains("level=fatal"), "{output}\n{text}");
    }
    for line in ["remote-port = 180", "passive-mode = true", "auth-password = \"a-b\"", "port = 179"] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
}
