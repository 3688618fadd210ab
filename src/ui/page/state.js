// Words, signs and parts that all views share. In: parts of a report. Out: texts and elements. A state is shown by its sign and its
// word; colour comes on top.

import { element } from "./dom.js";

export const STATES = {
  ok: { sign: "✓", word: "ok" },
  warning: { sign: "!", word: "warning" },
  fail: { sign: "✗", word: "fail" },
  unknown: { sign: "?", word: "unknown" },
  info: { sign: "–", word: "by intent" },
};
/** Address families, in short. */
export const FAMILIES = { l2VpnEvpn: "EVPN", ipv4Unicast: "IPv4", ipv6Unicast: "IPv6" };

const ORDER = ["ok", "info", "unknown", "warning", "fail"];
const OF_SEVERITY = { error: "fail", warning: "warning", info: "info" };

export const signOf = (state) => (STATES[state] ?? STATES.unknown).sign;

/** The worst of some states; `ok` of none. */
export function worst(states) {
  return ORDER[Math.max(0, ...states.map((state) => ORDER.indexOf(state)))];
}

/** Those with faults first, else in their order. */
export function worstFirst(items, stateIn = ({ state }) => state) {
  return items.toSorted((a, b) => ORDER.indexOf(stateIn(b)) - ORDER.indexOf(stateIn(a)));
}

/** Whether a finding is a fault or a warning: what is by intent, or has no effect now, is neither. */
export const isWrong = ({ severity }) => severity !== "info";

/** The state that findings make of what they are about. By intent is no fault. */
export function stateOf(findings) {
  return worst(findings.map((finding) => OF_SEVERITY[finding.severity] ?? "unknown").filter((state) => state !== "info"));
}

export const isUp = (session) => session.state === "Established";

/** `1 route`, `2 routes`. */
export const several = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** `3s`, `5m 2s`, `4h 10m`, `2d 3h`. */
export function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [["d", Math.floor(whole / 86400)], ["h", Math.floor(whole / 3600) % 24], ["m", Math.floor(whole / 60) % 60], ["s", whole % 60]];
  const first = parts.findIndex(([, count]) => count > 0);
  if (first < 0) return "0s";
  return parts.slice(first, first + 2).filter(([, count]) => count > 0).map(([unit, count]) => `${count}${unit}`).join(" ");
}

/** The time between two texts as RFC 3339 has them. */
export const between = (from, to) => age((Date.parse(to) - Date.parse(from)) / 1000);

/** The findings of a session. */
export const ofSession = (report, session) =>
  report.findings.filter(({ where }) => where.peer === session.peer && (where.vrf ?? null) === (session.vrf ?? null));

/** The state of a session, by what is found of it too. */
export const sessionState = (report, session) =>
  isUp(session) ? stateOf(ofSession(report, session)) : worst(["warning", stateOf(ofSession(report, session))]);

/** The name of a VRF by its L3VNI, or null; the VNI beside it. */
export const l3vnis = (report) =>
  Object.entries(report.vnis)
    .filter(([, vni]) => vni.type === "L3")
    .map(([number, vni]) => ({ number, ...vni }))
    .sort((a, b) => (a.vrf < b.vrf ? -1 : 1));

/** A sign and a word in the colour of a state. */
export const badge = (state, text) => element("span", { class: `badge ${state}` }, `${signOf(state)} ${text}`);

/** What is wrong; on which node, where there are several. */
const named = (finding) => (finding.node ? `${finding.node}: ${finding.what}` : finding.what);

/** What is wrong and what to do, for the place where it is; `withNode` where that is not a node. */
export function causes(findings, withNode = false) {
  return findings
    .filter(isWrong)
    .map((finding) =>
      element(
        "p",
        { class: `cause ${OF_SEVERITY[finding.severity]}` },
        element("b", {}, `${signOf(OF_SEVERITY[finding.severity])} ${withNode ? named(finding) : finding.what}`),
        element("span", {}, ` ${finding.remedy}`),
      ),
    );
}

/** Whether what shows one of these areas could not be read: that nothing is found says nothing then. */
export const isUnread = (report, areas) => report.areas.some(({ area, state }) => areas.includes(area) && state === "unknown");

/** One sentence on findings: the worst of those that are wrong, or `otherwise`, a state and a text. */
export function headlineOf(findings, otherwise) {
  const wrong = findings.filter(isWrong);
  const more = wrong.length > 1 ? ` (and ${wrong.length - 1} more)` : "";
  const [state, text] = wrong.length > 0 ? [stateOf(wrong), named(wrong[0]) + more] : otherwise;
  return element("p", { class: `headline ${state}` }, `${signOf(state)} ${text}`);
}

/** One sentence on the areas of a view: the worst that is found and wanted, that something was not read, or that all is well. */
export function headline(report, areas, isWanted = () => true) {
  const found = report.findings.filter((finding) => areas.includes(finding.area) && isWanted(finding));
  const unread = report.areas.filter(({ area, state }) => areas.includes(area) && state === "unknown").map(({ area }) => area);
  return headlineOf(found, unread.length > 0 ? ["unknown", `not read: ${unread.join(", ")}`] : ["ok", "the checks find nothing wrong"]);
}

/** A table whose rows become cards on a small screen. `rows` are lists of cells: a text, an element or a list of them. */
export function table(headers, rows) {
  const cell = (content, index) => element("td", { "data-label": headers[index] }, ...[content].flat());
  const row = ({ state, cells }) => element("tr", { class: state }, cells.map(cell));
  const head = element("thead", {}, element("tr", {}, headers.map((name) => element("th", { scope: "col" }, name))));
  return element("table", { class: "cards" }, head, element("tbody", {}, rows.map(row)));
}
