//! The paths of `perouter trace` as text. In: paths. Out: lines for people. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::show::Look;
use super::tone::Tone;
use crate::diagnose::trace::{DirectedTrace, TracePoint, TraceStep};
use crate::types::VrfName;

/// The paths of all VRFs. A VRF that has neither of the addresses is a line where another one has them, and no reason is known.
pub fn texts(traces: &[Vec<DirectedTrace>], look: Look) -> String {
    let has = |of_vrf: &Vec<DirectedTrace>| of_vrf.iter().any(|path| !path.example && path.trace.prefix.is_some());
    let is_elsewhere = traces.iter().any(has);
    let of_vrf = |of_vrf: &Vec<DirectedTrace>| -> Vec<String> {
        let is_plain = |path: &DirectedTrace| path.trace.steps.iter().all(|step| step.at == TracePoint::Vrf);
        match of_vrf.first() {
            Some(there) if is_elsewhere && !has(of_vrf) && of_vrf.iter().all(is_plain) => {
                vec![format!("VRF {} (VNI {}): no route to {}\n", there.trace.vrf, there.trace.vni, there.to)]
            }
            _ => of_vrf.iter().map(|path| text(path, look)).collect(),
        }
    };
    traces.iter().flat_map(of_vrf).collect::<Vec<_>>().join("\n")
}

/// Two ends that no VRF has both.
pub fn isolated(traces: &[Vec<DirectedTrace>], to: IpAddr, from: Option<IpAddr>) -> String {
    let vrfs_of = |address: IpAddr| -> BTreeSet<&VrfName> {
        let paths = traces.iter().flatten().filter(|path| path.to == address && path.trace.prefix.is_some());
        paths.map(|path| &path.trace.vrf).collect()
    };
    let Some((from, [of_to, of_from])) = from.map(|from| (from, [to, from].map(vrfs_of))) else { return String::new() };
    if of_to.is_empty() || of_from.is_empty() || !of_to.is_disjoint(&of_from) {
        return String::new();
    }
    let named = |vrfs: BTreeSet<&VrfName>| vrfs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "\n{to} is in VRF {}, and {from} in VRF {}: VRFs are isolated from each other\n",
        named(of_to),
        named(of_from)
    )
}

fn text(path: &DirectedTrace, look: Look) -> String {
    let DirectedTrace { to, direction, example, trace, .. } = path;
    let (vrf, vni) = (&trace.vrf, trace.vni);
    let from_to = direction.map(|direction| format!(", {}", direction.words())).unwrap_or_default();
    let example = if *example { ", as an example" } else { "" };
    let steps: String = trace.steps.iter().map(|step| step_text(step, look)).collect();
    format!("VRF {vrf} (VNI {vni}), to {to}{from_to}{example}\n{steps}")
}

fn step_text(step: &TraceStep, look: Look) -> String {
    let mark = match (step.ok, step.warning) {
        (true, false) => Tone::Good.mark("ok") + "  ",
        (true, true) => Tone::Warning.mark("WARN"),
        (false, _) => Tone::Bad.mark("FAIL"),
    };
    let mut out = format!("  {mark}  {:<7} {}\n", step.at.to_string(), step.text);
    for branch in &step.branches {
        out.extend(["                ", branch, "\n"]);
    }
    if look.is_wide && !step.evidence.is_empty() {
        out.extend(["                # ", &step.evidence, "\n"]);
    }
    out
}

/// The end of a path in a VRF without routes of the fabric. `is_new`: no session with the fabric was established before a moment ago.
pub fn without_fabric_route(vrf: &VrfName, is_new: bool) -> TraceStep {
    let remedy = if is_new { "the session with it is new, wait for its routes" } else { "see `perouter check`" };
    let text = format!("VRF {vrf} has no route of the fabric: nobody there gets a reply; {remedy}");
    TraceStep::warning(TracePoint::Vrf, text).shown_by(format!("bgpd: show bgp vrf {vrf} ipv4 unicast"))
}

#[cfg(test)]
mod tests {
    use super::super::tone::plain;
    use super::*;
    use crate::diagnose::trace::{PathDirection, Trace};
    use crate::frr::show::route::Origin;

    #[test]
    fn a_path_has_its_direction_its_branches_and_what_shows_a_step() {
        let step = TraceStep {
            at: TracePoint::Kernel,
            ok: true,
            warning: false,
            text: "10.0.0.0/8 over 2 next hops".into(),
            branches: vec!["100.64.0.1 dev br-pe-100".into(), "100.64.0.2 dev br-pe-100".into()],
            evidence: "zebra: show ip route vrf red 10.0.0.0".into(),
        };
        let trace = Trace {
            vrf: "red".parse().unwrap(),
            vni: 100.try_into().unwrap(),
            prefix: "10.0.0.0/8".parse().ok(),
            origin: Some(Origin::Fabric),
            steps: vec![step],
        };
        let to = "10.0.0.1".parse().unwrap();
        let path =
            DirectedTrace { to, direction: Some(PathDirection::HostToFabric), example: true, complete: true, trace };
        let expected = "VRF red (VNI 100), to 10.0.0.1, from the host to the fabric, as an example\n  \
                        ok    kernel  10.0.0.0/8 over 2 next hops\n                100.64.0.1 dev br-pe-100\n                \
                        100.64.0.2 dev br-pe-100\n";
        assert_eq!(plain(&text(&path, Look::TABLE)), expected);
        let wide = text(&path, Look::WIDE);
        assert_eq!(plain(&wide), format!("{expected}                # zebra: show ip route vrf red 10.0.0.0\n"));
        let json = serde_json::to_value(&path).unwrap();
        assert_eq!(
            (&json["direction"], &json["vrf"], &json["to"]),
            (&"host-to-fabric".into(), &"red".into(), &"10.0.0.1".into())
        );
    }

    fn path(vrf: &str, to: &str, prefix: Option<&str>, step: TraceStep) -> DirectedTrace {
        let prefix = prefix.map(|prefix| prefix.parse().unwrap());
        let (vrf, vni) = (vrf.parse().unwrap(), 100.try_into().unwrap());
        let trace = Trace { vrf, vni, prefix, origin: None, steps: vec![step] };
        DirectedTrace { to: to.parse().unwrap(), direction: None, example: false, complete: prefix.is_some(), trace }
    }

    fn step(at: TracePoint, text: &str) -> TraceStep {
        TraceStep { at, ok: true, warning: false, text: text.to_owned(), branches: vec![], evidence: String::new() }
    }

    /// A VRF without the address is one line, unless the reason is a route that it could have.
    #[test]
    fn a_vrf_without_the_address_has_its_reason_where_there_is_one() {
        let found = || vec![path("red", "10.0.0.1", Some("10.0.0.0/8"), step(TracePoint::Host, "advertised"))];
        let without = |at| vec![path("blue", "10.0.0.1", None, step(at, "why"))];
        let shown = |traces: &[Vec<DirectedTrace>]| plain(&texts(traces, Look::TABLE));
        let red = "VRF red (VNI 100), to 10.0.0.1\n  ok    host    advertised\n";
        assert_eq!(
            shown(&[found(), without(TracePoint::Vrf)]),
            format!("{red}\nVRF blue (VNI 100): no route to 10.0.0.1\n")
        );
        let blue = "VRF blue (VNI 100), to 10.0.0.1\n  ok    fabric  why\n";
        assert_eq!(shown(&[found(), without(TracePoint::Fabric)]), format!("{red}\n{blue}"));
        // The path of the replies has its reason in the VRF that has the other end.
        let mut both = found();
        both.push(path("red", "10.9.0.1", None, step(TracePoint::Vrf, "why")));
        assert_eq!(shown(&[both]), format!("{red}\nVRF red (VNI 100), to 10.9.0.1\n  ok    VRF     why\n"));
    }

    #[test]
    fn ends_in_different_vrfs_are_isolated() {
        let there = |vrf: &str, to: &str, prefix| path(vrf, to, prefix, step(TracePoint::Host, "x"));
        let [to, from] = ["10.0.0.1", "10.1.0.1"];
        let apart = [
            vec![there("red", to, Some("10.0.0.0/16")), there("red", from, None)],
            vec![there("blue", to, None), there("blue", from, Some("10.1.0.0/16"))],
        ];
        let [to, from] = [to, from].map(|address| address.parse().unwrap());
        let words = "\n10.0.0.1 is in VRF red, and 10.1.0.1 in VRF blue: VRFs are isolated from each other\n";
        assert_eq!(isolated(&apart, to, Some(from)), words);
        assert_eq!(isolated(&apart, to, None), "");
        assert_eq!(isolated(&apart[..1], to, Some(from)), "");
    }
}
