// The view Node: the path of a packet through this node, leaf → NIC → underlay → VRF → veth → speaker of the host, each with its state and a
// command that shows it. In: a report. Out: elements.

import { command, ip, perouter } from "./command.js";
import { element } from "./dom.js";
import { matches } from "./filter.js";
import { between, causes, headline, isUnread, isUp, l3vnis, ofSession, sessionState, several, signOf, stateOf, worst, STATES } from "./state.js";

const MOST_LANES = 40;

const linkState = (link) => (link === undefined ? "unknown" : link.adminUp && link.carrier ? "ok" : "fail");
const linkText = (link) => (link === undefined ? "not read" : !link.adminUp ? "set down" : !link.carrier ? "no carrier" : `up, MTU ${link.mtu}`);

/** A hop, with `why` it is broken in short; the whole is below the hops. */
function hop(place, state, name, lines, commands, why = null) {
  return element(
    "div",
    { class: `hop ${state}` },
    element("div", { class: "head" }, element("span", { class: "place" }, place), element("span", { class: "word" }, `${signOf(state)} ${STATES[state].word}`)),
    element("b", {}, name),
    lines.filter(Boolean).map((line) => element("small", {}, line)),
    why ? element("small", { class: "word" }, why) : null,
    commands.map(command),
  );
}

/** The NICs: links of the default VRF that perouter has not made. */
export function nics(report) {
  const ours = /^(vni|br-pe-|pe-)\d+$/;
  return Object.entries(report.links ?? {}).filter(([name, link]) => (link.vrf === "" || link.vrf === "default") && name !== "lo" && link.type !== "VRF" && !ours.test(name));
}

/** The neighbor of a session with the fabric: its address, or the interface of one without. */
function leafHop(report, session) {
  const missing = ofSession(report, session).filter(({ kind }) => kind === "family-not-negotiated").length;
  const since = session.since ?? session.downSince;
  const state = `${session.state}${since ? ` for ${between(since, report.time)}` : ""}`;
  const name = session.hostname ?? "leaf";
  const lines = [[session.peer, session.remoteAs === null ? null : `AS ${session.remoteAs}`].filter(Boolean).join(", "), state];
  const by = /[.:]/.test(session.peer) ? "to" : "dev";
  return hop("leaf", sessionState(report, session), name, lines, [ip(report, null, "neigh", "show", by, session.peer)], missing > 0 ? "address family not negotiated" : null);
}

function nicHop(report, [name, link]) {
  const found = report.findings.filter(({ where }) => where.link === name);
  const state = worst([linkState(link), stateOf(found)]);
  return hop("NIC", state, name, [linkText(link), link.addresses.join(", ") || "no address"], [ip(report, null, "-s", "-d", "link", "show", name)]);
}

function underlayHop(report) {
  const sessions = report.sessions.filter((session) => session.vrf === null);
  const found = report.findings.filter(({ area, where }) => area === "fabric" || where.vtep !== undefined);
  const state = isUnread(report, ["fabric"]) ? "unknown" : worst([stateOf(found), ...sessions.map((session) => sessionState(report, session))]);
  const up = sessions.filter(isUp).length;
  return hop("underlay", state, report.vteps.map((vtep) => `VTEP ${vtep}`).join(", ") || "no VTEP", [`${up} of ${sessions.length} fabric sessions established`, report.routerId ? `router id ${report.routerId}` : null], [perouter(report, "sessions", "default", "-o", "wide")]);
}

function vrfHop(report, vni) {
  const found = report.findings.filter(({ where }) => (where.vrf === vni.vrf || where.vni === Number(vni.number)) && where.peer === undefined && where.vtep === undefined);
  const links = [`vni${vni.number}`, `br-pe-${vni.number}`];
  const down = links.filter((name) => report.links && linkState(report.links[name]) !== "ok");
  const state = worst([stateOf(found), down.length > 0 ? "fail" : "ok", report.links ? "ok" : "unknown"]);
  const lines = [`VNI ${vni.number} ${vni.up ? "up" : "down"}`, vni.rd ? `RD ${vni.rd}` : null, `import ${vni.import.join(" ") || "none"}, export ${vni.export.join(" ") || "none"}`, ...down.map((name) => `${name}: ${linkText(report.links[name])}`)];
  return hop("VRF", state, vni.vrf, lines, [perouter(report, "routes", vni.vrf)]);
}

function vethHop(report, vni, sessions) {
  const name = `pe-${vni.number}`;
  const link = report.links?.[name];
  if (sessions.length === 0 && link === undefined) return hop("veth", "ok", "none", ["the VRF has no host session"], []);
  const found = report.findings.filter(({ where, kind }) => where.vrf === vni.vrf && kind === "no-return-route");
  const state = worst([linkState(link), stateOf(found)]);
  const lines = [linkText(link), link?.addresses.join(", ")];
  return hop("veth", state, `${name} ⇄ host-${vni.number}`, lines, [ip(report, vni.vrf, "-s", "addr", "show", name), ["ip", "-s", "addr", "show", `host-${vni.number}`]]);
}

function speakerHop(report, vni, session) {
  const since = session.since ?? session.downSince;
  const counts = Object.values(session.prefixes).reduce((all, count) => [all[0] + count.received, all[1] + count.sent], [0, 0]);
  const lines = [session.remoteAs === null ? null : `AS ${session.remoteAs}`, `${session.state}${since ? ` for ${between(since, report.time)}` : ""}`, isUp(session) ? `${several(counts[0], "prefix", "prefixes")} in, ${counts[1]} out` : null];
  return hop("host speaker", sessionState(report, session), session.peer, lines, [perouter(report, "sessions", vni.vrf, "-o", "wide")]);
}

function laneOf(report, vni) {
  const sessions = report.sessions.filter((session) => session.vrf === vni.vrf);
  const speakers = sessions.map((session) => speakerHop(report, vni, session));
  const none = hop("host speaker", "ok", "none", ["the VRF has no host session"], []);
  const stack = element("div", { class: "stack" }, speakers.length > 0 ? speakers : none);
  const found = report.findings.filter(({ where }) => where.vrf === vni.vrf);
  const row = element("div", { class: "lane" }, element("div", { class: "hops" }, vrfHop(report, vni), vethHop(report, vni, sessions), stack), causes(found));
  return { vni, sessions, isBroken: row.querySelector(".hop:not(.ok), .cause") !== null, row };
}

/** The view. */
export function node(report, choice) {
  const lanes = l3vnis(report)
    .filter((vni) => choice.vrf === "" || vni.vrf === choice.vrf)
    .map((vni) => laneOf(report, vni))
    .filter((one) => (!choice.onlyBroken || one.isBroken) && matches([one.vni, one.sessions, report.links?.[`pe-${one.vni.number}`]], choice.text));
  const ordered = lanes.toSorted((a, b) => Number(b.isBroken) - Number(a.isBroken));
  const drawn = ordered.slice(0, MOST_LANES);
  const hidden = ordered.length - drawn.length;
  const silent = report.findings.filter(({ area }) => area === "router" || area === "objects");
  const unread = hop("NIC", "unknown", "not read", ["zebra does not answer"], []);
  const leaves = report.sessions.filter((session) => session.vrf === null);
  const noLeaf = isUnread(report, ["fabric"]) ? hop("leaf", "unknown", "not read", ["bgpd does not answer"], []) : hop("leaf", "ok", "none", ["no session with the fabric is configured"], []);
  const shared = report.findings.filter(({ area, where }) => ["links", "fabric"].includes(area) && where.vrf === undefined);
  return [
    headline(report, ["router", "objects", "links", "fabric", "host"]),
    ...causes(silent),
    element(
      "section",
      { class: "packet-path", "aria-label": "from the NIC to the host" },
      element(
        "div",
        {},
        element(
          "div",
          { class: "hops shared" },
          element("div", { class: "stack" }, leaves.length > 0 ? leaves.map((session) => leafHop(report, session)) : noLeaf),
          element("div", { class: "stack" }, report.links ? nics(report).map((nic) => nicHop(report, nic)) : unread),
          underlayHop(report),
        ),
        causes(shared),
      ),
      drawn.map(({ row }) => row),
      drawn.length === 0 ? element("p", { class: "nothing" }, isUnread(report, ["evpn"]) ? "? bgpd does not answer" : "no VRF matches the filter") : null,
      hidden > 0 ? element("p", { class: "nothing" }, `${hidden} more VRFs: choose one, or filter`) : null,
    ),
  ];
}
