// The view Fabric: leaves, this node, its VRFs and the speakers of the host, with the sessions as edges between them; and the VTEPs
// behind the leaves. In: a report. Out: elements.

import { element } from "./dom.js";
import { matches } from "./filter.js";
import { FAMILIES, badge, between, causes, headline, isUnread, isUp, isWrong, l3vnis, ofSession, sessionState, several, signOf, stateOf, table, worst, worstFirst } from "./state.js";

/** Lanes that are drawn; those with faults come first. */
const MOST_LANES = 40;

function edge(report, session) {
  const state = sessionState(report, session);
  const found = ofSession(report, session).filter(isWrong);
  const since = session.since ?? session.downSince;
  const time = since ? ` ${between(since, report.time)}` : "";
  const fault = isUp(session) && found.length > 0 ? `, ${found[0].kind.replaceAll("-", " ")}` : "";
  const counts = Object.entries(session.prefixes).map(([family, count]) => `${FAMILIES[family] ?? family} ${count.received} in ${count.sent} out`);
  const label = element("span", { class: "label" }, element("b", {}, `${signOf(state)} ${session.state}${time}${fault}`));
  if (isUp(session)) label.append(...counts.map((count) => element("small", {}, count)));
  return element("div", { class: `edge ${state}` }, label);
}

function peerBox(report, session, name) {
  const rows = [session.peer, session.remoteAs === null ? null : `AS ${session.remoteAs}`];
  return element(
    "div",
    { class: `box ${sessionState(report, session)}` },
    element("b", {}, name ?? session.hostname ?? session.peer),
    rows.filter((row) => row !== null && row !== name).map((row) => element("small", {}, row)),
  );
}

function leafRow(report, session) {
  return element(
    "div",
    { class: "link" },
    element("div", { class: "pair" }, peerBox(report, session), edge(report, session)),
    causes(ofSession(report, session)),
  );
}

/** A VRF with what is found of it, and the sessions of the host in it. */
function lane(report, vni) {
  const sessions = report.sessions.filter((session) => session.vrf === vni.vrf);
  const found = report.findings.filter(({ where }) => where.vrf === vni.vrf);
  const { originated, sent, received } = report.type5[vni.vrf] ?? { originated: 0, sent: 0, received: {} };
  const sum = (key) => Object.values(received).reduce((all, vtep) => all + vtep[key], 0);
  const counts = { originated, sent, routes: sum("routes"), imported: sum("imported") };
  // Where routes are missing, why is found here or elsewhere.
  const isWhole = counts.sent === counts.originated && counts.imported === counts.routes;
  const own = worst([stateOf(found.filter(({ where }) => where.peer === undefined)), isWhole ? "ok" : "warning"]);
  const state = worst([own, stateOf(found), ...sessions.map((session) => sessionState(report, session))]);
  return { vni, sessions, found, counts, own, state };
}

function laneRow(report, { vni, sessions, found, counts, own: state }) {
  const line = (isGood, text) => element("small", isGood ? {} : { class: "word fail" }, isGood ? text : `✗ ${text}`);
  const texts = [
    line(counts.sent === counts.originated, `${counts.sent} of ${counts.originated} Type-5 sent`),
    line(counts.imported === counts.routes, `${counts.imported} of ${counts.routes} Type-5 imported`),
  ];
  const box = element("div", { class: `box vrf ${state}` }, element("b", {}, `${signOf(state)} ${vni.vrf}`), element("small", {}, `VNI ${vni.number}`), texts);
  const hosts = sessions.map((session) => element("div", { class: "pair" }, edge(report, session), peerBox(report, session, session.hostname ?? "host speaker")));
  const none = element("div", { class: "pair" }, element("small", { class: "dim" }, "no host session"));
  return element(
    "div",
    { class: "link" },
    element("div", { class: "pair" }, element("div", { class: `edge short ${state}` }), box, element("div", { class: "hosts" }, hosts.length > 0 ? hosts : none)),
    causes(found),
  );
}

function nodeBox(report) {
  const areas = report.areas.filter(({ area }) => ["router", "objects", "links"].includes(area));
  return element(
    "div",
    { class: `box node ${worst(areas.map(({ state }) => state))}` },
    element("b", {}, report.node ?? "this node"),
    report.vteps.map((vtep) => element("small", {}, `VTEP ${vtep}`)),
    report.routerId ? element("small", {}, `router id ${report.routerId}`) : null,
    areas.map(({ area, state }) => badge(state, area)),
  );
}

/** For each VTEP and VRF how many of its Type-5 routes are imported. */
function vtepTable(report, lanes, choice) {
  const vteps = new Set(Object.values(report.type5).flatMap(({ received }) => Object.keys(received)));
  const vrfs = lanes.map(({ vni }) => vni.vrf).filter((vrf) => report.type5[vrf]);
  const rows = [...vteps].sort().map((vtep) => {
    const found = report.findings.filter(({ where }) => where.vtep === vtep && (where.vrf === undefined || vrfs.includes(where.vrf)));
    const cells = vrfs.map((vrf) => {
      const counts = report.type5[vrf].received[vtep];
      if (!counts) return "–";
      const state = counts.imported === counts.routes ? "ok" : "fail";
      return badge(state, `${counts.imported} of ${counts.routes}`);
    });
    return { vtep, state: stateOf(found), cells: [element("span", { class: "address" }, vtep), ...cells, causes(found)] };
  });
  const has = (vtep) => vrfs.some((vrf) => report.type5[vrf].received[vtep] !== undefined);
  const shown = rows.filter((row) => has(row.vtep) && matches(row.vtep, choice.text) && (!choice.onlyBroken || row.state !== "ok"));
  if (shown.length === 0) return [];
  // Nothing is wrong with any: no column for that.
  const hasCauses = shown.some(({ cells }) => cells.at(-1).length > 0);
  if (!hasCauses) for (const { cells } of shown) cells.pop();
  return [
    element("h2", {}, "VTEPs behind the fabric: Type-5 routes that are imported"),
    element("div", { class: "scroll" }, table(["VTEP", ...vrfs, ...(hasCauses ? ["what is wrong"] : [])], shown)),
  ];
}

/** The view. */
export function fabric(report, choice) {
  const wanted = (value, state) => (!choice.onlyBroken || state !== "ok") && matches(value, choice.text);
  const leaves = report.sessions.filter((session) => session.vrf === null && wanted(session, sessionState(report, session)));
  const lanes = l3vnis(report)
    .filter((vni) => choice.vrf === "" || vni.vrf === choice.vrf)
    .map((vni) => lane(report, vni))
    .filter((one) => wanted([one.vni, one.sessions, one.found], one.state));
  // Those with faults first, in the order of their names.
  const ordered = worstFirst(lanes);
  const drawn = ordered.slice(0, MOST_LANES);
  const rest = report.findings.filter(({ area, where }) => area === "fabric" && where.peer === undefined);
  const isFiltered = report.sessions.some((session) => session.vrf === null);
  const none = element("p", { class: "nothing" }, isFiltered ? "no session with the fabric matches the filter" : isUnread(report, ["fabric"]) ? "? bgpd does not answer" : "no session with the fabric is configured");
  return [
    headline(report, ["fabric", "host", "evpn"]),
    element(
      "section",
      { class: "fabric", "aria-label": "sessions of this node" },
      element("div", { class: "side leaves" }, element("h2", {}, "leaves"), leaves.length > 0 ? leaves.map((session) => leafRow(report, session)) : none, causes(rest)),
      nodeBox(report),
      element("div", { class: "side lanes" }, element("h2", {}, "VRFs and their host sessions"), drawn.length === 0 ? element("p", { class: "nothing" }, isUnread(report, ["evpn"]) ? "? bgpd does not answer" : "no VRF matches the filter") : null, drawn.map((one) => laneRow(report, one)), ordered.length > drawn.length ? element("p", { class: "nothing" }, `${several(ordered.length - drawn.length, "more VRF")}: choose one, or filter`) : null),
    ),
    ...vtepTable(report, drawn, choice),
  ];
}
