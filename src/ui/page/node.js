// The view Node: the path of a packet through this node, NIC → underlay → VRF → veth → speaker of the host, each with its state and a
// command that shows it. In: a report. Out: elements.

import { command, ip, perouter } from "./command.js";
import { element } from "./dom.js";
import { matches } from "./filter.js";
import { between, causes, headline, isUnread, isUp, l3vnis, ofSession, sessionState, several, signOf, stateOf, worst, STATES } from "./state.js";

const MOST_LANES = 40;

const linkState = (link) => (link === undefined ? "unknown" : link.adminUp && link.carrier ? "ok" : "fail");
const linkText = (link) => (link === undefined ? "not read" : !link.adminUp ? "set down" : !link.carrier ? "no carrier" : `up, MTU ${link.mtu}`);

/** A hop; what is wrong with it is shown beside the hops. */
function hop(place, state, name, lines, commands) {
  return element(
    "div",
    { class: `hop ${state}` },
    element("div", { class: "head" }, element("span", { class: "place" }, place), element("span", { class: "word" }, `${signOf(state)} ${STATES[state].word}`)),
    element("b", {}, name),
    lines.filter(Boolean).map((line) => element("small", {}, line)),
    commands.map(command),
  );
}

/** The NICs: links of the default VRF that perouter has not made. */
export function nics(report) {
  const ours = /^(vni|br-pe-|pe-)\d+$/;
  return Object.entries(report.links ?? {}).filter(([name, link]) => (link.vrf === "" || link.vrf === "default") && name !== "lo" && link.type !== "VRF" && !ours.test(name));
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
  const lines = [`VNI ${vni.number} ${vni.up ? "up" : "down"}`, vni.rd ? `RD ${vni.rd}` : null, `import ${vni.import.join(" ") || "none"}`, `export ${vni.export.join(" ") || "none"}`, ...down.map((name) => `${name}: ${linkText(report.links[name])}`)];
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
  const shared = report.findings.filter(({ area, where }) => ["links", "fabric"].includes(area) && where.vrf === undefined);
  return [
    headline(report, ["router", "objects", "links", "fabric", "host"]),
    ...causes(silent),
    element(
      "section",
      { class: "packet-path", "aria-label": "from the NIC to the host" },
      element(
        "div",
        { class: "hops shared" },
        element("div", { class: "stack" }, report.links ? nics(report).map((nic) => nicHop(report, nic)) : unread),
        underlayHop(report),
        element("div", { class: "beside" }, causes(shared)),
      ),
      drawn.map(({ row }) => row),
      drawn.length === 0 ? element("p", { class: "nothing" }, isUnread(report, ["evpn"]) ? "? bgpd does not answer" : "no VRF matches the filter") : null,
      hidden > 0 ? element("p", { class: "nothing" }, `${hidden} more VRFs: choose one, or filter`) : null,
    ),
  ];
}
