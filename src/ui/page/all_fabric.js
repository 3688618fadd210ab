// The view Fabric of all nodes: each with its way to the fabric and its sessions. In: a page of a cluster. Out: elements.

import { fabricState, nodeLines, ofNode, sessionState, sign, wantedNodes } from "./cluster.js";
import { element } from "./dom.js";
import { causes, headline, isWrong, several } from "./state.js";

/** Nodes that are drawn; those with faults come first. */
const MOST_NODES = 60;
/** What is wrong on a node, beside it; all is in the view Node. */
const MOST_CAUSES = 3;

const edge = (found) => element("div", { class: `edge ${found.state}` }, element("span", { class: "label" }, element("b", {}, sign(found))));

function row(report, one, vrf) {
  const found = ofNode(report, one).filter((finding) => isWrong(finding) && (vrf === "" || (finding.where.vrf ?? vrf) === vrf));
  const more = found.length - MOST_CAUSES;
  const good = element("p", { class: `cause ${one.isKnown ? "ok" : "unknown"}` }, one.isKnown ? "✓ its status has nothing wrong" : "? not known");
  return element(
    "div",
    { class: "pair", "data-node": one.node },
    edge(fabricState(one)),
    element("div", { class: `box host ${one.state}` }, element("b", {}, sign({ state: one.state, text: one.node })), nodeLines(one).map((line) => element("small", {}, line))),
    edge(sessionState(one)),
    element("div", { class: "found" }, found.length > 0 ? causes(found.slice(0, MOST_CAUSES)) : good, more > 0 ? element("small", { class: "dim" }, `${more} more: choose the node`) : null),
  );
}

/** The view. */
export function allFabric(report, choice) {
  const nodes = wantedNodes(report, choice);
  const drawn = nodes.slice(0, MOST_NODES);
  const left = nodes.length - drawn.length;
  return [
    headline(report, ["router", "fabric", "host", "evpn"]),
    element(
      "section",
      { class: "all-nodes", "aria-label": "all nodes and their sessions" },
      element("div", { class: "box whole" }, element("b", {}, "fabric")),
      element("div", { class: "side" }, drawn.length > 0 ? drawn.map((one) => row(report, one, choice.vrf)) : element("p", { class: "nothing" }, "no node matches the filter"), left > 0 ? element("p", { class: "nothing" }, `${several(left, "more node")}: choose one, or filter`) : null),
    ),
  ];
}
