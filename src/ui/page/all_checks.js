// The view Checks of all nodes: the state of each area, what is wrong on which node, and the nodes. In: a page of a cluster. Out:
// elements.

import { areaCard, findingCard } from "./checks.js";
import { fabricState, sessionState, unknown, wantedNodes } from "./cluster.js";
import { element } from "./dom.js";
import { remaining } from "./filter.js";
import { age, badge, signOf, table } from "./state.js";

/** Findings that are shown; the worst come first. */
const MOST = 200;

function nodeRow(one) {
  const { status, state, ageSeconds } = one;
  const objects = status?.resources ?? [];
  const ready = objects.filter((resource) => resource.state === "Ready").length;
  const known = (isGood, text) => badge(one.isKnown ? (isGood ? "ok" : "fail") : "unknown", text);
  const cells = [
    [element("span", { class: "word" }, `${signOf(state)} `), element("b", {}, one.node)],
    status ? String(status.index) : "",
    element("span", { class: "address" }, status?.vtep ?? "–"),
    badge(fabricState(one).state, fabricState(one).text),
    badge(sessionState(one).state, sessionState(one).text),
    known(ready === objects.length, `${ready} of ${objects.length}`),
    status ? known(status.vnis.ready === status.vnis.total, `${status.vnis.ready} of ${status.vnis.total}`) : "",
    unknown(one) === null ? age(ageSeconds ?? 0) : badge("unknown", unknown(one)),
  ];
  return { state, cells };
}

/** The view. */
export function allChecks(report, choice) {
  const now = Date.parse(report.time) / 1000;
  const found = remaining(report.findings, choice);
  const hidden = report.findings.length - found.length;
  const nodes = wantedNodes(report, choice);
  const nothing = report.findings.length === 0 ? "Nothing is wrong." : "Nothing that is wrong matches the filter.";
  const left = found.length - MOST;
  return [
    element("section", { class: "areas of-cluster", "aria-label": "state of each area" }, report.areas.map(areaCard)),
    element("h2", {}, hidden > 0 ? `What is wrong (${hidden} hidden by the filter)` : "What is wrong"),
    found.length > 0 ? found.slice(0, MOST).map((finding) => findingCard(finding, now)) : element("p", { class: "nothing" }, nothing),
    left > 0 ? element("p", { class: "nothing" }, `${left} more: choose a node, or filter`) : [],
    element("h2", {}, `Nodes (${nodes.length} of ${report.nodes.length})`),
    element("div", { class: "scroll" }, table(["node", "index", "VTEP", "fabric", "sessions", "objects in place", "L3VNIs", "status"], nodes.map(nodeRow))),
  ].flat();
}
