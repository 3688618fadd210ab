// The view VRF of all nodes: each VRF and segment by the nodes that have it. In: a page of a cluster. Out: elements. Prefixes are not in
// the API: the view says which command lists them.

import { downIn, notHere, resourceState, shownNode, together, wantedNodes } from "./cluster.js";
import { element } from "./dom.js";
import { matches } from "./filter.js";
import { badge, causes, headline, several, signOf, table } from "./state.js";

/** Nodes that have a column; those with faults come first. */
const MOST_NODES = 12;
const MOST_ROWS = 200;

/** Each object that is a VRF or a segment, with its state by node. */
function services(report) {
  const found = new Map();
  for (const one of report.nodes) {
    for (const resource of one.status?.resources ?? []) {
      if (resource.kind === "Underlay") continue;
      const key = `${resource.kind} ${resource.namespace}/${resource.name}`;
      if (!found.has(key)) found.set(key, { key, kind: resource.kind, name: resource.name, vrf: undefined, vni: undefined, cells: new Map() });
      const service = found.get(key);
      // One that is rejected has neither; another node may have both.
      [service.vrf, service.vni] = [service.vrf ?? resource.vrf, service.vni ?? resource.vni];
      service.cells.set(one.node, cell(one, resource));
    }
  }
  return [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

function cell(one, resource) {
  const found = resourceState(one, resource);
  // The sessions of a VRF are of its L3VNI, not of the segments that are routed in it.
  const down = one.isKnown && resource.kind === "L3VNI" ? downIn(one, resource.vrf) : [];
  if (found.state === "ok" && down.length > 0) return { state: "fail", text: `${several(down.length, "session")} down` };
  const segment = one.status.l2vnis?.find(({ vni }) => resource.kind === "L2VNI" && vni === resource.vni);
  const count = segment?.macs ? `, ${several(segment.macs.local, "MAC")}` : "";
  return { ...found, text: `${found.text}${found.state === "ok" ? count : ""}` };
}

function row(service, nodes) {
  const all = [...service.cells.values()];
  const state = together(all);
  const good = all.filter((one) => one.state === "ok").length;
  const name = [element("span", { class: "word" }, `${signOf(state)} ${service.kind === "L3VNI" ? (service.vrf ?? service.name) : service.name}`), element("small", {}, ` ${[service.kind, service.vni ? `VNI ${service.vni}` : null, service.kind === "L2VNI" && service.vrf ? `in ${service.vrf}` : null].filter(Boolean).join(" ")}`)];
  const of = ({ node }) => {
    const found = service.cells.get(node);
    return found ? badge(found.state, found.text) : element("span", { class: "dim" }, "–");
  };
  return { state, cells: [name, badge(state, `${good} of ${several(all.length, "node")}`), ...nodes.map(of)] };
}

/** The view. */
export function allVrf(report, choice) {
  const nodes = wantedNodes(report, { ...choice, text: "", vrf: "", onlyBroken: false });
  const columns = nodes.slice(0, MOST_NODES);
  const hidden = nodes.length - columns.length;
  const all = services(report);
  const wanted = all.filter((service) => (choice.vrf === "" || service.vrf === choice.vrf) && matches([service.key, service.vrf, service.vni], choice.text));
  const rows = wanted.map((service) => row(service, columns)).filter(({ state }) => !choice.onlyBroken || state !== "ok");
  const left = rows.length - MOST_ROWS;
  const found = report.findings.filter(({ node, where, object }) => (choice.node === "" || node === choice.node) && (choice.vrf === "" ? where.vrf !== undefined || object : where.vrf === choice.vrf));
  const none = element("p", { class: "nothing" }, all.length === 0 ? "no node has a VRF" : "no VRF matches the filter");
  return [
    headline(report, ["objects", "host", "evpn"]),
    rows.length > 0 ? element("div", { class: "scroll" }, table(["VRF or segment", "in place", ...columns.map(({ node }) => node)], rows.slice(0, MOST_ROWS))) : none,
    hidden > 0 ? element("p", { class: "nothing" }, `${several(hidden, "more node")}: those with faults have a column; choose a node`) : null,
    left > 0 ? element("p", { class: "nothing" }, `${several(left, "more VRF")}: filter`) : null,
    ...causes(found, true),
    element("h2", {}, "Prefixes"),
    notHere(report, shownNode(report, choice)?.node, "What hosts advertise, what is sent as Type-5 and what is imported is known to the router of a node:", "routes", choice.vrf || wanted.find(({ vrf }) => vrf)?.vrf || "VRF"),
  ].filter(Boolean);
}
