// The view VRF: for each VRF what the host advertises, what is filtered, what is sent as Type-5 and what of the fabric is imported;
// then the prefixes of one. In: a report, and the routes of one VRF as `perouter routes -o json` has them. Out: elements.

import { command, perouter } from "./command.js";
import { element } from "./dom.js";
import { matches } from "./filter.js";
import { badge, causes, headline, isUnread, isUp, l3vnis, several, signOf, stateOf, table, worst, worstFirst } from "./state.js";

/** Rows of a table; what is wrong comes first. */
const MOST_ROWS = 200;
const FILTERED = { prefix: "filtered: spec.fromHost or spec.protectedPrefixes", "next-hop": "filtered: its next hop is not the host's" };

function numbers(report, vni) {
  const sessions = report.sessions.filter((session) => session.vrf === vni.vrf);
  const counts = report.type5[vni.vrf] ?? { originated: 0, sent: 0, received: {} };
  const of = (key) => Object.values(counts.received).reduce((all, vtep) => all + vtep[key], 0);
  const unicast = (session) => Object.entries(session.prefixes).filter(([family]) => family !== "l2VpnEvpn");
  const accepted = sessions.flatMap(unicast).reduce((all, [, count]) => all + count.received, 0);
  const filtered = sessions.flatMap((session) => session.filtered ?? []);
  return { sessions, accepted, filtered, originated: counts.originated, sent: counts.sent, received: of("routes"), imported: of("imported") };
}

/** Whether a finding is on a VRF, or on a VTEP whose routes it receives. */
function concerns(report, vni, { where }) {
  const isReceived = where.vtep !== undefined && report.type5[vni.vrf]?.received[where.vtep] !== undefined;
  return where.vrf === vni.vrf || (where.vrf === undefined && isReceived);
}

function summary(report, vni, select) {
  const { sessions, accepted, filtered, originated, sent, received, imported } = numbers(report, vni);
  const found = report.findings.filter((finding) => concerns(report, vni, finding));
  const up = sessions.filter(isUp).length;
  const states = {
    session: up === sessions.length ? "ok" : "fail",
    filtered: filtered.some(({ reason }) => reason === "next-hop") ? "warning" : filtered.length > 0 ? "info" : "ok",
    sent: sent === originated ? "ok" : "fail",
    imported: imported === received ? "ok" : "fail",
  };
  const state = worst([stateOf(found), states.session, states.sent, states.imported, vni.up ? "ok" : "fail"]);
  const name = element("button", { type: "button", class: "choose", "data-key": `vrf ${vni.vrf}` }, vni.vrf);
  name.addEventListener("click", () => select(vni.vrf));
  const cells = [
    [element("span", { class: "word" }, `${signOf(state)} `), name, element("small", {}, ` VNI ${vni.number}${vni.up ? "" : " down"}`)],
    sessions.length === 0 ? "none" : badge(states.session, `${up} of ${sessions.length} up`),
    String(accepted),
    filtered.length === 0 ? "0" : badge(states.filtered, String(filtered.length)),
    badge(states.sent, `${sent} of ${originated}`),
    badge(states.imported, `${imported} of ${received}`),
  ];
  return { vni, found, state, row: { state, cells } };
}

const best = (route) => route.paths.find((path) => path.best);

function ofHost(route) {
  const path = best(route);
  if (!path && route.type2) return { state: "ok", text: `MAC/IP route sent to ${route.type2.advertisedTo.join(", ") || "no session"}` };
  const filtered = (route.filtered ?? []).map((from) => ({ state: from.reason === "next-hop" ? "warning" : "info", text: `${FILTERED[from.reason]} (${from.peer})` }));
  if (!path) return { state: filtered.length > 0 ? worst(filtered.map(({ state }) => state)) : "fail", text: filtered.map(({ text }) => text).join("; ") || "no path can be used: its next hop is unreachable" };
  if (path.origin === "host" && route.kernel.length === 0) return { state: "fail", text: "not in the kernel" };
  // What the host's session needs of itself may stay here.
  if (!route.type5) return { state: path.origin === "router" ? "info" : "warning", text: "no Type-5 route: Path says why" };
  if (route.type5.advertisedTo.length === 0) return { state: "fail", text: "Type-5 route advertised to no session" };
  return { state: "ok", text: `Type-5 route sent to ${route.type5.advertisedTo.join(", ")}` };
}

function ofFabric(route) {
  if (!best(route)) return { state: "fail", text: "no path can be used: its next hop is unreachable" };
  if (route.kernel.length === 0) return { state: "fail", text: "not in the kernel" };
  return { state: "ok", text: `forwarded via ${route.kernel.join(", ")}` };
}

const isOfFabric = (route) => (best(route) ?? route.paths[0])?.origin === "fabric";

/** `firstOf` says of how many routes of the VRF these are the first; empty where they are all. */
function routeTable(headers, routes, judge, from, choice, firstOf) {
  const all = routes.map((route) => ({ route, ...judge(route) }));
  const wanted = all.filter(({ route, state }) => matches(route, choice.text) && (!choice.onlyBroken || !["ok", "info"].includes(state)));
  const ordered = worstFirst(wanted);
  if (ordered.length === 0) return element("p", { class: "nothing" }, all.length === 0 ? `no prefix ${firstOf || "in the VRF"}` : `none ${firstOf ? `${firstOf} ` : ""}matches the filter`);
  const row = ({ route, state, text }) => ({ state, cells: [element("span", { class: "address" }, route.prefix), ...from(route), element("span", { class: "word" }, `${signOf(state)} ${text}`)] });
  const more = ordered.length - MOST_ROWS;
  const rows = table(headers, ordered.slice(0, MOST_ROWS).map(row));
  return element("div", { class: "scroll" }, rows, more > 0 ? element("p", { class: "nothing" }, `${several(more, "more prefix", "more prefixes")}: filter by an address`) : null);
}

function detail(report, vni, routes, choice) {
  const title = (text) => element("h2", {}, `VRF ${vni.vrf}: ${text}`);
  const shown = command(perouter(report, "routes", vni.vrf));
  const unused = report.findings.filter((finding) => ["not-imported", "vtep-unreachable", "vtep-family"].includes(finding.kind) && concerns(report, vni, finding));
  if (routes?.vrf !== vni.vrf) return [title("prefixes"), element("p", { class: "nothing" }, "being read"), shown];
  if (routes.problem) return [title("prefixes"), element("p", { class: "cause fail" }, element("b", {}, `✗ ${routes.problem}`)), shown];
  const { items, metadata } = routes.list;
  const hop = (path) => path.nextHops.join(", ");
  const all = (route) => (best(route) ? route.paths.filter((path) => path.best) : route.paths);
  const hostCells = (route) => {
    const path = best(route);
    const origin = path?.origin ?? (route.type2 ? "segment" : "host");
    return [origin, path ? (path.peer || hop(path)) : (route.filtered ?? []).map(({ peer }) => peer).join(", "), route.kernel.join(", ") || "–"];
  };
  const fabricCells = (route) => [all(route).map(hop).join(", "), [...new Set(all(route).map((path) => path.asPath))].join("; ")];
  const left = metadata.remainingItemCount ?? 0;
  // The server sends those first that are not forwarded.
  const firstOf = left > 0 ? `of the first ${items.length} of ${items.length + left}` : "";
  return [
    title("from the host to the fabric"),
    routeTable(["prefix", "origin", "from", "kernel", "state"], items.filter((route) => !isOfFabric(route)), ofHost, hostCells, choice, firstOf),
    title("from the fabric to the host"),
    ...causes(unused),
    routeTable(["prefix", "VTEP", "AS path", "state"], items.filter(isOfFabric), ofFabric, fabricCells, choice, firstOf),
    firstOf ? element("p", { class: "nothing" }, `Only prefixes ${firstOf} are shown and filtered; the command lists all.`) : null,
    shown,
  ];
}

/** The VRF whose prefixes are shown: the one that is chosen, or that with the worst finding, or with another fault, or the first. */
export function shownVrf(report, choice) {
  const all = l3vnis(report).map((vni) => summary(report, vni, () => {}));
  const first = worstFirst(worstFirst(all), ({ found }) => stateOf(found))[0];
  return choice.vrf || first?.vni.vrf || null;
}

/** The view. `routes` are those of the VRF that is shown, once they are read; `select` chooses a VRF. */
export function vrf(report, choice, { routes, select }) {
  const vnis = l3vnis(report);
  const all = vnis.map((vni) => summary(report, vni, select));
  const wanted = all.filter(({ vni, state }) => (choice.vrf === "" || vni.vrf === choice.vrf) && (!choice.onlyBroken || state !== "ok"));
  const shown = vnis.find((vni) => vni.vrf === shownVrf(report, choice));
  const chosen = vnis.find((vni) => vni.vrf === choice.vrf);
  // What is wrong with the fabric is wrong in every VRF.
  const isOfAll = ({ where }) => where.vrf === undefined && where.vni === undefined && where.vtep === undefined;
  const isWanted = (finding) => !chosen || isOfAll(finding) || concerns(report, chosen, finding);
  const headers = ["VRF", "host sessions", "accepted from hosts", "filtered", "Type-5 sent", "Type-5 imported"];
  return [
    headline(report, ["fabric", "host", "evpn"], isWanted),
    wanted.length > 0 ? element("div", { class: "scroll" }, table(headers, wanted.map(({ row }) => row))) : element("p", { class: "nothing" }, vnis.length === 0 ? (isUnread(report, ["evpn"]) ? "? bgpd does not answer" : "this router has no VRF") : "no VRF matches the filter"),
    ...(shown ? detail(report, shown, routes, choice) : []),
  ];
}
