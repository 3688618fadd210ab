//! What the demo shows once everything is installed: sessions, routes and traffic.
//!
//! In: the lab with its routers and hosts. Out: its steps. It must not start or configure anything.

use std::fmt::Write as _;

use super::context::{BLUE, DemoContext, DemoStep, NODES, RED, await_state};
use super::error::StepError;
use super::settings::Demo;
use crate::evpn::{FabricRoute, type5_routes};
use crate::frr::{self, Instance};
use crate::host_side;
use crate::inspect::align;
use crate::node::CommandOutput;

/// Steps after the installation.
pub(super) const STEPS: [DemoStep; 3] = [
    DemoStep {
        title: "sessions: router to fabric, host to router in red and blue",
        inspect: "leafkind -- vtysh -c 'show bgp l2vpn evpn summary'",
        run: show_sessions,
    },
    DemoStep {
        title: "the services are Type-5 routes at leafA",
        inspect: "leafA -- vtysh -c 'show bgp l2vpn evpn route type prefix'",
        run: show_routes,
    },
    DemoStep {
        title: "traffic: each color reaches its own service and not the other's",
        inspect: "leafA -- vtysh -c 'show ip route vrf red'",
        run: show_traffic,
    },
];

/// Host of the client, address, and whether the page is expected.
const REQUESTS: [(&str, &str, bool); 6] = [
    ("hostA_red", RED, true),
    ("hostB_red", RED, true),
    ("hostA_blue", BLUE, true),
    ("hostB_blue", BLUE, true),
    ("hostA_blue", RED, false),
    ("hostA_red", BLUE, false),
];

fn show_sessions(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    await_state(context, "all sessions to be established", |context| {
        let down = sessions(context)?.into_iter().find(|row| row[3] != "Established");
        down.map_or(Ok(()), |[node, neighbor, session, state]| {
            Err(format!("{session} of {node} with {neighbor} is {state}"))
        })
    })?;
    let rows = sessions(context).unwrap_or_default();
    let head = ["AT", "NEIGHBOR", "SESSION", "STATE"].map(ToOwned::to_owned);
    Ok(align(&std::iter::once(head).chain(rows).collect::<Vec<_>>()))
}

/// Rows of node, neighbor, session, state: the leaf's sessions with both routers, then those of the hosts.
fn sessions(context: &DemoContext) -> Result<Vec<[String; 4]>, String> {
    let leaf = context.lab.node("leafkind").map_err(|error| error.to_string())?;
    let summary = frr::show(leaf, Instance::Main, "show bgp l2vpn evpn summary json");
    let summary = summary.map_err(|error| error.to_string())?.unwrap_or_default();
    let underlay = ["192.168.11.3", "192.168.11.4"].map(|neighbor| {
        let state = summary["peers"][neighbor]["state"].as_str().unwrap_or("Idle");
        ["leafkind", neighbor, "underlay, EVPN", state].map(ToOwned::to_owned)
    });
    let mut rows = Vec::from(underlay);
    let Some((instance, announcer)) = &context.hosts else { return Ok(rows) };
    for name in NODES {
        let node = context.lab.node(name).map_err(|error| error.to_string())?;
        let sessions = host_side::sessions(node, *instance, announcer).map_err(|error| error.to_string())?;
        rows.extend(sessions.into_iter().map(|(neighbor, peer, state)| [name.to_owned(), neighbor, peer, state]));
    }
    Ok(rows)
}

fn show_routes(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let mut routes = Vec::new();
    await_state(context, "a Type-5 route of each service from both nodes", |context| {
        let leaf = context.lab.node("leafA").map_err(|error| error.to_string())?;
        routes = type5_routes(leaf).map_err(|error| error.to_string())?;
        let missing = [(RED, 100), (BLUE, 200)].into_iter().find(|(address, vni)| {
            let of_service = |route: &&FabricRoute| route.prefix.addr().to_string() == *address && route.vni == *vni;
            routes.iter().filter(of_service).count() < NODES.len()
        });
        missing.map_or(Ok(()), |(address, vni)| Err(format!("{address} with VNI {vni} is not received from both")))
    })?;
    let head = ["PREFIX", "VNI", "ROUTE TARGET", "ROUTER MAC", "VTEP", "AS PATH"].map(ToOwned::to_owned);
    let services = routes.into_iter().filter(|route| [RED, BLUE].contains(&&*route.prefix.addr().to_string()));
    let row = |route: FabricRoute| {
        let targets = route.route_targets.join(" ");
        [route.prefix.to_string(), route.vni.to_string(), targets, route.router_mac, route.vtep, route.as_path]
    };
    Ok(align(&std::iter::once(head).chain(services.map(row)).collect::<Vec<_>>()))
}

fn show_traffic(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let mut lines = String::new();
    for (host, address, page) in REQUESTS {
        let _ = writeln!(lines, "{host}$ curl http://{address}/");
        let output = if page { fetch(context, host, address)? } else { expect_timeout(context, host, address)? };
        for line in output.lines() {
            let _ = writeln!(lines, "    {line}");
        }
    }
    Ok(lines)
}

fn curl(context: &DemoContext, host: &str, address: &str, seconds: &str) -> Result<CommandOutput, StepError> {
    let url = format!("http://{address}/");
    let words = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", seconds, &url];
    Ok(context.lab.node(host)?.run(&words)?)
}

fn fetch(context: &mut DemoContext, host: &'static str, address: &'static str) -> Result<String, StepError> {
    let mut text = String::new();
    await_state(context, &format!("the page of http://{address}/ at {host}"), |context| {
        let output = curl(context, host, address, "2").map_err(|error| error.to_string())?;
        let good = output.success() && output.stdout.contains(&format!(" at {address}\n"));
        text = output.stdout;
        if good { Ok(()) } else { Err(output.stderr.trim().to_owned()) }
    })?;
    Ok(text)
}

/// Exit code of curl at its time limit; with any other there was an answer.
const CURL_TIMED_OUT: i32 = 28;

fn expect_timeout(context: &DemoContext, host: &'static str, address: &'static str) -> Result<String, StepError> {
    let output = curl(context, host, address, "2")?;
    if output.code == Some(CURL_TIMED_OUT) {
        return Ok(format!("{} (expected)", output.stderr.trim()));
    }
    Err(StepError::NotIsolated { host, address, code: output.code_text(), output: output.text() })
}
