//! `perouter routes`: the routes of a VRF, their origin, and whether kernel and fabric have them. In: FRR. Out: a table, JSON
//! or YAML.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::completions;
use super::exit_status::ExitStatus;
use super::frr_client::{FrrQueries, unknown_vrf};
use super::options::RuntimeOptions;
use super::show::{Items, Look, ShowOptions, Shown, WatchOptions};
use crate::diagnose::filtered::{FilterReason, Filtered};
use crate::diagnose::listed_route::{FilteredFrom, ListedRoute};
use crate::frr::show::route::Origin;
use crate::names::{OwnedName, Role};
use crate::runtime::Runtime;
use crate::types::{Family, VrfName};

/// Arguments of `perouter routes`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 printed, 2 there is no such VRF, or FRR does not answer.\n\nExamples:\n  perouter routes red\n  perouter routes red --from host\n  \
    perouter routes red -o json | jq '.items[] | select(.type5 == null).prefix'"
)]
pub struct RoutesArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// The VRF
    #[arg(value_name = "VRF", add = completions::vrfs())]
    vrf: VrfName,
    /// Show only prefixes whose best path has this origin
    #[arg(long, value_name = "ORIGIN", value_enum)]
    from: Option<OriginChoice>,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    watch: WatchOptions,
}

/// Origins as they are given on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum OriginChoice {
    /// A host session
    Host,
    /// A Type-5 route of the fabric
    Fabric,
    /// The router itself: the host's session address, subnets of L2VNIs, aggregates
    Router,
    /// A workload of an L2 segment behind this node
    Segment,
}

impl From<OriginChoice> for Origin {
    fn from(choice: OriginChoice) -> Self {
        match choice {
            OriginChoice::Host => Self::Host,
            OriginChoice::Fabric => Self::Fabric,
            OriginChoice::Router => Self::Router,
            OriginChoice::Segment => Self::Segment,
        }
    }
}

/// Prints the routes.
pub async fn execute(args: &RoutesArgs) -> anyhow::Result<ExitCode> {
    args.show.watch(&args.watch, async || shown(args).await).await
}

async fn shown(args: &RoutesArgs) -> anyhow::Result<Shown> {
    let mut routes = read(&args.runtime.paths(), &args.vrf).await?;
    let from = args.from.map(Origin::from);
    let of_host = |route: &ListedRoute| from == Some(Origin::Host) && !route.filtered.is_empty();
    routes.retain(|route| from.is_none_or(|from| route.origin() == Some(from)) || of_host(route));
    let list = Items { items: routes };
    let text = args.show.render("RouteList", &list, |look| text(&list.items, look))?;
    Ok(Shown { text, status: ExitStatus::Ok })
}

/// The routes of a VRF, by prefix.
pub async fn read(runtime: &Runtime, vrf: &VrfName) -> anyhow::Result<Vec<ListedRoute>> {
    let mut frr = FrrQueries::of(runtime);
    let vnis = frr.l3vnis().await?;
    let Some((_, state)) = vnis.get(vrf) else {
        return Err(unknown_vrf(vrf.as_str(), &vnis.keys().map(VrfName::as_str).collect()));
    };
    let mut type5 = frr.type5(state).await?;
    let mut routes: BTreeMap<IpNet, ListedRoute> = BTreeMap::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let mut kernel = frr.kernel(vrf, family, None).await?;
        for (prefix, paths) in frr.paths(vrf, family).await? {
            let route = ListedRoute {
                prefix,
                paths,
                kernel: kernel.remove(&prefix).unwrap_or_default().iter().map(ToString::to_string).collect(),
                type5: type5.remove(&prefix),
                type2: None,
                filtered: vec![],
            };
            routes.insert(prefix, route);
        }
    }
    for (vni, state) in frr.l2vnis(vrf).await? {
        for (address, type2) in frr.type2(&state).await? {
            let prefix = IpNet::from(address);
            let route = routes.entry(prefix).or_insert_with(|| ListedRoute { prefix, ..ListedRoute::default() });
            route.kernel.push(format!("dev {}", OwnedName::Vni(Role::Bridge, vni)));
            route.type2 = Some(type2);
        }
    }
    for (session, _) in frr.sessions().await?.into_iter().filter(|(session, _)| session.vrf.as_ref() == Some(vrf)) {
        for Filtered { prefix, next_hop, reason } in frr.filtered(&session).await? {
            let from = FilteredFrom { peer: session.peer.clone(), next_hop, reason };
            let route = routes.entry(prefix).or_insert_with(|| ListedRoute { prefix, ..ListedRoute::default() });
            route.filtered.push(from);
        }
    }
    Ok(routes.into_values().collect())
}

fn advertised(peers: &[String]) -> String {
    match peers.len() {
        0 => "not advertised".to_owned(),
        1 => "advertised to 1 peer".to_owned(),
        many => format!("advertised to {many} peers"),
    }
}

/// One line per path; kernel and Type-5 route belong to the prefix and are on the line of its best path.
fn text(routes: &[ListedRoute], look: Look) -> String {
    let rows = routes.iter().flat_map(|route| {
        let prefix = &route.prefix;
        let filtered = route.filtered.iter().map(move |from| {
            let next_hop = from.next_hop.map_or_else(|| from.peer.clone(), |next_hop| next_hop.to_string());
            let why = match from.reason {
                FilterReason::Prefix => "filtered by spec.fromHost or spec.protectedPrefixes",
                FilterReason::NextHop => "filtered: the next hop is not the host's",
            };
            let cells = ["", "host", &next_hop, "", "", why].map(str::to_owned);
            let row: Vec<String> = std::iter::once(prefix.to_string()).chain(cells).collect();
            row
        });
        let paths = route.paths.iter().map(move |path| {
            let (kernel, type5) = if path.best {
                let type5 = route.type5.as_ref().map_or("no".to_owned(), |type5| advertised(&type5.advertised_to));
                let is_connected = path.origin == Origin::Router;
                // The address of the host in its session is within a subnet that the kernel has.
                let without = if is_connected { "" } else { "no" };
                let kernel = if route.kernel.is_empty() { without.to_owned() } else { route.kernel.join(", ") };
                match path.origin {
                    // They are not advertised back to it.
                    Origin::Fabric => (kernel, String::new()),
                    Origin::Host | Origin::Router | Origin::Segment => (kernel, type5),
                }
            } else {
                (String::new(), String::new())
            };
            let hops: Vec<String> = path.next_hops.iter().map(ToString::to_string).collect();
            let best = if path.best { "*" } else { "" };
            let mut row = vec![
                prefix.to_string(),
                best.to_owned(),
                path.origin.as_str().to_owned(),
                hops.join(","),
                path.as_path.clone(),
                kernel,
                type5,
            ];
            if look.is_wide {
                let of_best = route.type5.as_ref().filter(|_| path.best);
                row.extend([
                    path.peer.clone(),
                    of_best.map(|type5| type5.rd.clone()).unwrap_or_default(),
                    of_best.map(|type5| type5.route_targets.join(",")).unwrap_or_default(),
                ]);
            }
            row
        });
        let segment = route.type2.iter().map(move |type2| {
            let advertised = format!("Type-2 {}", advertised(&type2.advertised_to));
            let mac = type2.mac.to_string();
            let cells = ["*", "segment", &mac, "", &route.kernel.join(", "), &advertised].map(str::to_owned);
            std::iter::once(prefix.to_string()).chain(cells).collect()
        });
        segment.chain(paths).chain(filtered)
    });
    let headers = ["PREFIX", "BEST", "FROM", "NEXT HOP", "AS PATH", "KERNEL", "TYPE-5", "PEER", "RD", "RT"];
    look.table(if look.is_wide { &headers } else { &headers[..7] }, rows)
}
