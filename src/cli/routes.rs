//! `perouter routes`: the routes of a VRF, from where they are, and whether kernel and fabric have them.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use ipnet::IpNet;
use serde::Serialize;

use super::frr_client::Frr;
use super::options::{Output, RuntimeOptions};
use super::table;
use crate::frr::show::route::{Origin, Path, Type5};
use crate::types::{Family, VrfName};

/// Arguments of `perouter routes`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  perouter routes red\n  perouter routes red --from host\n  \
    perouter routes red -o json | jq 'to_entries[] | select(.value.type5 == null).key'")]
pub struct RoutesArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// The VRF
    #[arg(value_name = "VRF")]
    vrf: VrfName,
    /// Only prefixes whose best path is from there
    #[arg(long, value_enum)]
    from: Option<Origin>,
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// A prefix.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Route {
    paths: Vec<Path>,
    /// Where the kernel forwards to.
    kernel: Vec<String>,
    /// Our Type-5 route.
    type5: Option<Type5>,
    /// Hosts that announce it and are refused by the filter of `spec.fromHost`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<String>,
}

impl Route {
    fn origin(&self) -> Option<Origin> {
        self.paths.iter().find(|path| path.best).map(|path| path.origin)
    }
}

/// Prints the routes.
pub async fn execute(args: &RoutesArgs) -> anyhow::Result<ExitCode> {
    let mut frr = Frr::of(&args.runtime.paths());
    let vnis = frr.vnis().await?;
    let Some((_, state)) = vnis.get(&args.vrf) else {
        let known: Vec<String> = vnis.keys().map(ToString::to_string).collect();
        anyhow::bail!(
            "there is no VRF {}; there are {}",
            args.vrf,
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
    };
    let mut type5 = frr.type5(state).await?;
    let mut routes: BTreeMap<IpNet, Route> = BTreeMap::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let mut kernel = frr.kernel(&args.vrf, family, None).await?;
        for (prefix, paths) in frr.paths(&args.vrf, family).await? {
            let route = Route {
                paths,
                kernel: kernel.remove(&prefix).unwrap_or_default(),
                type5: type5.remove(&prefix),
                ..Route::default()
            };
            routes.insert(prefix, route);
        }
    }
    for (session, _) in frr.sessions().await?.into_iter().filter(|(session, _)| session.vrf.as_ref() == Some(&args.vrf))
    {
        for prefix in frr.refused(&session).await? {
            routes.entry(prefix).or_default().refused.push(session.peer.clone());
        }
    }
    let of_host = |route: &Route| args.from == Some(Origin::Host) && !route.refused.is_empty();
    routes.retain(|_, route| args.from.is_none_or(|from| route.origin() == Some(from)) || of_host(route));
    args.output.print(&routes, || text(&routes))?;
    Ok(ExitCode::SUCCESS)
}

/// A line for each path; what kernel and fabric have is of the prefix and stands on the line of its best path.
fn text(routes: &BTreeMap<IpNet, Route>) -> String {
    let rows = routes.iter().flat_map(|(prefix, route)| {
        let refused = route.refused.iter().map(move |host| {
            let cells = ["", "host", host, "", "", "refused by spec.fromHost"].map(str::to_owned);
            std::iter::once(prefix.to_string()).chain(cells).collect()
        });
        let paths = route.paths.iter().map(move |path| {
            let (kernel, type5) = if path.best {
                let type5 = route.type5.as_ref().map_or("no".to_owned(), |type5| match type5.advertised_to.len() {
                    0 => "sent to nobody".to_owned(),
                    1 => "sent to 1 peer".to_owned(),
                    many => format!("sent to {many} peers"),
                });
                // What came from the fabric does not go back to it, and what is the router's own it does not forward.
                let kernel = if route.kernel.is_empty() { "no".to_owned() } else { route.kernel.join(", ") };
                match path.origin {
                    Origin::Fabric => (kernel, String::new()),
                    Origin::Router => (String::new(), type5),
                    Origin::Host => (kernel, type5),
                }
            } else {
                (String::new(), String::new())
            };
            let hops: Vec<String> = path.next_hops.iter().map(ToString::to_string).collect();
            let best = if path.best { "*" } else { "" };
            vec![
                prefix.to_string(),
                best.to_owned(),
                path.origin.to_string(),
                hops.join(","),
                path.as_path.clone(),
                kernel,
                type5,
            ]
        });
        paths.chain(refused)
    });
    table::render(&["PREFIX", "BEST", "FROM", "NEXT HOP", "AS PATH", "KERNEL", "TYPE-5"], rows)
}
