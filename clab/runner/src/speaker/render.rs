//! The configuration of a speaker in the syntax of its daemon.
//!
//! In: a [`SpeakerConfig`]. Out: the text of a configuration file. It must not start anything.

use std::fmt::Write as _;

use super::config::{Peering, SpeakerConfig};

/// The configuration of BIRD 2.
pub fn bird_conf(config: &SpeakerConfig) -> String {
    let mut text = format!("log stderr all;\nrouter id {};\nprotocol device {{ scan time 1; }}\n", config.router_id);
    // Multihop next hops are resolved over these routes; services on `lo` are advertised as static routes instead.
    text.push_str("protocol direct { ipv4; ipv6; interface \"host-*\"; }\n");
    let restarts = config.peerings.iter().any(|peering| peering.graceful_restart);
    if restarts {
        text.push_str("graceful restart wait 30;\n");
    }
    for family in ["ipv4", "ipv6"] {
        // The routes stay in the kernel while the daemon restarts: packets are still forwarded.
        let persist = if restarts { "persist; graceful restart on; " } else { "" };
        let _ = writeln!(
            text,
            "protocol kernel {{ {persist}{family} {{ import none; export where source = RTS_BGP; }}; }}"
        );
        let _ = write!(text, "protocol static {{ {family};");
        for prefix in config.announced.iter().filter(|prefix| prefix.addr().is_ipv4() == (family == "ipv4")) {
            let _ = write!(text, " route {prefix} blackhole;");
        }
        text.push_str(" }\n");
    }
    if let Some((interval, multiplier)) = config.peerings.iter().find_map(|peering| peering.bfd) {
        let options = format!("interval {interval} ms; multiplier {multiplier};");
        let _ = writeln!(text, "protocol bfd {{ interface \"*\" {{ {options} }}; multihop {{ {options} }}; }}");
    }
    for (number, peering) in config.peerings.iter().enumerate() {
        let _ = writeln!(text, "protocol bgp peer{number} {{{}\n}}", bird_session(config, peering));
    }
    text
}

fn bird_session(config: &SpeakerConfig, peering: &Peering) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        let _ = write!(text, "\n  {words};");
    };
    let listen = peering.listens.unwrap_or(179);
    line(format!("local {} port {listen} as {}", peering.local, config.asn));
    line(format!("neighbor {} port {} as {}", peering.neighbor, peering.port, peering.remote_as));
    line("strict bind on".into());
    line("connect delay time 1".into());
    line("connect retry time 1".into());
    line("error wait time 1, 2".into());
    line(format!("hold time {}", peering.hold));
    line(format!("graceful restart {}", if peering.graceful_restart { "on" } else { "off" }));
    line(if peering.multihop { "multihop".into() } else { "direct".into() });
    if peering.passive {
        line("passive on".into());
    }
    if let Some(password) = &peering.password {
        line(format!("password \"{password}\""));
    }
    if peering.bfd.is_some() {
        line("bfd on".into());
    }
    let family = if peering.neighbor.is_ipv4() { "ipv4" } else { "ipv6" };
    line(format!("{family} {{ import all; export where source = RTS_STATIC; next hop self; }}"));
    text
}

/// The configuration of `GoBGP`. It listens on one port for all sessions: the first one configured.
pub fn gobgp_conf(config: &SpeakerConfig) -> String {
    let listen = config.peerings.iter().find_map(|peering| peering.listens);
    let mut text = format!("[global.config]\n  as = {}\n  router-id = \"{}\"\n", config.asn, config.router_id);
    let _ = writeln!(text, "  port = {}", listen.map_or(-1, i32::from));
    let addresses: Vec<_> = config.peerings.iter().map(|peering| format!("\"{}\"", peering.local)).collect();
    let _ = writeln!(text, "  local-address-list = [{}]", addresses.join(", "));
    for peering in &config.peerings {
        gobgp_session(&mut text, peering);
    }
    text
}

fn gobgp_session(text: &mut String, peering: &Peering) {
    let mut line = |words: String| {
        let _ = writeln!(text, "{words}");
    };
    line("[[neighbors]]".into());
    line("  [neighbors.config]".into());
    line(format!("    neighbor-address = \"{}\"", peering.neighbor));
    line(format!("    peer-as = {}", peering.remote_as));
    if let Some(password) = &peering.password {
        line(format!("    auth-password = \"{password}\""));
    }
    line("  [neighbors.timers.config]".into());
    line("    connect-retry = 1".into());
    line("    idle-hold-time-after-reset = 1".into());
    line(format!("    hold-time = {}", peering.hold));
    line(format!("    keepalive-interval = {}", peering.hold / 3));
    line("  [neighbors.transport.config]".into());
    line(format!("    local-address = \"{}\"", peering.local));
    line(format!("    remote-port = {}", peering.port));
    line(format!("    passive-mode = {}", peering.passive));
    if peering.multihop {
        line("  [neighbors.ebgp-multihop.config]".into());
        line("    enabled = true".into());
        line("    multihop-ttl = 255".into());
    }
    if peering.graceful_restart {
        line("  [neighbors.graceful-restart.config]".into());
        line("    enabled = true".into());
        line("    restart-time = 120".into());
    }
    line("  [[neighbors.afi-safis]]".into());
    line("    [neighbors.afi-safis.config]".into());
    let family = if peering.neighbor.is_ipv4() { "ipv4" } else { "ipv6" };
    line(format!("      afi-safi-name = \"{family}-unicast\""));
    if peering.graceful_restart {
        line("    [neighbors.afi-safis.mp-graceful-restart.config]".into());
        line("      enabled = true".into());
    }
}
