// The view Fabric of all nodes: each with its way to the fabric and its sessions. In: a page of a cluster. Out: elements.

import { fabricState, nodeLines, ofNode, sessionState, sign, wantedNodes } from "./cluster.js";
import { element } from "./dom.js";
import { causes, headline, several } from "./state.js";

/** Nodes that are drawn; those with faults come first. */
const MOST_NODES = 60;
/** Sessions of a node that are drawn; all are in the view Node. */
const MOST_SESSIONS = 6;

const edge = (found) => element("div", { class: `edge ${found.state}` }, element("span", { class: "label" }, element("b", {}, sign(found))));

function peers(one, vrf) {
  if (!one.isKnown) return [];
  const down = (one.status.sessionsDown ?? []).filter((session) => vrf === "" || (session.vrf ?? vrf) === vrf);
  const box = ({ vrf: of, peer, reason }) =>
    element("div", { class: "box fail" }, element("b", {}, `✗ ${peer}`), element("small", {}, of ? `VRF ${of}` : "fabric"), element("small", {}, (reason ?? "down").replaceAll("-", " ")));
  const more = down.length - MOST_SESSIONS;
  return [...down.slice(0, MOST_SESSIONS).map(box), more > 0 ? element("small", { class: "dim" }, several(more, "more session")) : null];
}

function row(report, one, vrf) {
  const lines = nodeLines(one).map((line) => element("small", {}, line));
  const down = peers(one, vrf).filter(Boolean);
  const none = element("div", { class: "box ok" }, element("small", {}, one.isKnown ? "no session is down" : "not known"));
  return element(
    "div",
    { class: "link", "data-node": one.node },
    element(
      "div",
      { class: "pair" },
      edge(fabricState(one)),
      element("div", { class: `box host ${one.state}` }, element("b", {}, sign({ state: one.state, text: one.node })), lines),
      edge(sessionState(one)),
      element("div", { class: "peers" }, down.length > 0 ? down : none),
    ),
    causes(ofNode(report, one)),
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
