// The view Node of a cluster: what the API server has of one node, and the commands that show more. In: a page of a cluster. Out:
// elements.

import { condition, downIn, fabricState, nodeLines, ofNode, onNode, resourceState, sessionState, shownNode, sign, together, unknown } from "./cluster.js";
import { element } from "./dom.js";
import { matches } from "./filter.js";
import { badge, causes, headlineOf, several, signOf, STATES, table } from "./state.js";

function hop(place, { state, text }, lines) {
  const word = element("span", { class: "word" }, `${signOf(state)} ${STATES[state].word}`);
  return element("div", { class: `hop ${state}` }, element("div", { class: "head" }, element("span", { class: "place" }, place), word), element("b", {}, text), lines.filter(Boolean).map((line) => element("small", {}, line)));
}

function objects(one, choice) {
  const wanted = (resource) => (choice.vrf === "" || resource.vrf === undefined || resource.vrf === choice.vrf) && matches(resource, choice.text);
  const rows = one.status.resources.filter(wanted).map((resource) => {
    const found = resourceState(one, resource);
    const place = [resource.vrf && resource.vrf !== resource.name ? `VRF ${resource.vrf}` : null, resource.vni ? `VNI ${resource.vni}` : null].filter(Boolean).join(", ");
    return { ...found, cells: [resource.kind, `${resource.namespace}/${resource.name}`, place, badge(found.state, found.text), [resource.message ?? "", resource.held ? element("small", {}, " The last accepted version is in force.") : null].filter(Boolean)] };
  });
  const shown = rows.filter(({ state }) => !choice.onlyBroken || state !== "ok");
  if (shown.length === 0) return element("p", { class: "nothing" }, one.status.resources.length === 0 ? "no object is for this node" : "no object matches the filter");
  return element("div", { class: "scroll" }, table(["kind", "object", "is", "state", "what is wrong"], shown));
}

function segments(one) {
  const all = one.status.l2vnis ?? [];
  if (all.length === 0) return [];
  const count = (number) => (number === undefined ? "not counted" : `${number.local} here, ${number.remote} elsewhere`);
  const rows = all.map(({ vni, macs, neighbors, remoteVteps }) => ({ state: "ok", cells: [String(vni), count(macs), count(neighbors), String(remoteVteps)] }));
  return [element("h2", {}, "L2VNIs"), element("div", { class: "scroll" }, table(["VNI", "MAC addresses", "IP addresses", "VTEPs"], rows))];
}

function ready(one) {
  const why = unknown(one);
  if (why !== null) return { state: "unknown", text: why };
  const found = condition(one, "Ready");
  if (found === undefined) return { state: "unknown", text: "not known" };
  return found.status === "True" ? { state: "ok", text: "ready" } : { state: "fail", text: `not ready: ${found.reason}` };
}

/** The view. */
export function allNode(report, choice) {
  const one = shownNode(report, choice);
  const commands = [["check"], ["sessions", ...(choice.vrf ? [choice.vrf] : []), "-o", "wide"], ["status"], ["plan"], ["bundle"]].map((words) => onNode(report, one.node, ...words));
  const found = ofNode(report, one);
  const head = headlineOf(found, ["ok", `${one.node}: its status has nothing wrong`]);
  if (one.status === undefined) return [head, ...causes(found), element("h2", {}, "on the node"), ...commands];
  const { resources, vnis } = one.status;
  const inPlace = resources.map((resource) => resourceState(one, resource));
  const degraded = condition(one, "Degraded");
  return [
    head,
    element(
      "section",
      { class: "packet-path", "aria-label": `the node ${one.node}` },
      element(
        "div",
        { class: "hops of-node" },
        hop("fabric", fabricState(one), [`router id ${one.status.routerID ?? "none"}`, condition(one, "FabricConnected")?.message]),
        hop("router", ready(one), nodeLines(one)),
        hop("VRFs", one.isKnown && vnis.ready < vnis.total ? { state: "fail", text: `${vnis.ready} of ${vnis.total} L3VNIs up` } : { state: one.isKnown ? "ok" : "unknown", text: `${vnis.ready} of ${vnis.total} L3VNIs up` }, [`${inPlace.filter(({ state }) => state === "ok").length} of ${several(resources.length, "object")} in place`]),
        hop("sessions", sessionState(one), [downIn(one, choice.vrf || undefined).length > 0 ? `${downIn(one, choice.vrf).length} down in VRF ${choice.vrf}` : null, one.isKnown && degraded?.status === "True" ? `degraded: ${degraded.reason}` : null]),
      ),
    ),
    ...causes(found),
    element("h2", {}, `Objects: ${sign({ state: together(inPlace), text: `${inPlace.filter(({ state }) => state === "ok").length} of ${resources.length} in place` })}`),
    objects(one, choice),
    ...segments(one),
    element("h2", {}, "More is on the node"),
    ...commands,
  ];
}
