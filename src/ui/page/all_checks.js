// The view Checks of all nodes: the state of each area, what is wrong on which node, and the nodes. In: a page of a cluster. Out:
// elements.

import { areaCard, foundSections } from "./checks.js";
import { fabricState, sessionState, unknown, wantedNodes } from "./cluster.js";
import { element } from "./dom.js";
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
  const nodes = wantedNodes(report, choice);
  return [
    element("section", { class: "areas of-cluster", "aria-label": "state of each area" }, report.areas.map(areaCard)),
    foundSections(report, choice, MOST),
    element("h2", {}, `Nodes (${nodes.length} of ${report.nodes.length})`),
    element("div", { class: "scroll" }, table(["node", "index", "VTEP", "fabric", "sessions", "objects in place", "L3VNIs", "status"], nodes.map(nodeRow))),
  ].flat();
}
