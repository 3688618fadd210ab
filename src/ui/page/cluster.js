// What the views of all nodes share. In: a page of a cluster. Out: its nodes and objects, and commands for one of them.

import { command } from "./command.js";
import { element } from "./dom.js";
import { matches } from "./filter.js";
import { age, isWrong, signOf, worst, worstFirst } from "./state.js";

/** Whether a report is of all nodes of a cluster. */
export const isCluster = (report) => report?.kind === "ClusterPage";

/** A page of a cluster in which each node has all of its objects: the document has those that are ready once, and their positions. */
export function expanded(report) {
  const object = (position) => ({ ...report.objects[position], state: "Ready" });
  const withAll = (status) => ({ ...status, resources: [...(status.resources ?? []), ...status.ready.map(object)] });
  return { ...report, nodes: report.nodes.map((one) => (one.status ? { ...one, status: withAll(one.status) } : one)) };
}

/** The findings of a node. */
export const ofNode = (report, { node }) => report.findings.filter((finding) => finding.node === node);

/** The names of all VRFs of which a node has something. */
export function vrfNames(report) {
  const ofStatus = ({ status }) => [...(status?.resources ?? []), ...(status?.sessionsDown ?? [])].map(({ vrf }) => vrf);
  return [...new Set(report.nodes.flatMap(ofStatus))].filter(Boolean).sort();
}

/** The nodes that a person wants to see, those with faults first. */
export function wantedNodes(report, choice) {
  const inVrf = (found, vrf) => choice.vrf === "" || (found.where.vrf ?? vrf) === vrf;
  const shown = report.nodes.filter((one) => {
    const found = ofNode(report, one).filter((finding) => inVrf(finding, choice.vrf));
    const isBroken = found.some(isWrong) || !one.isKnown;
    return (choice.node === "" || one.node === choice.node) && (!choice.onlyBroken || isBroken) && matches([one, found], choice.text);
  });
  return worstFirst(shown);
}

/** The node that the view Node shows: the one that is chosen, or the first with a fault, or the first. */
export const shownNode = (report, choice) => report.nodes.find(({ node }) => node === choice.node) ?? worstFirst(report.nodes)[0] ?? null;

/** A condition of the status of a node. */
export const condition = ({ status }, type) => status?.conditions?.find((one) => one.type === type);

/** Why nothing of a node is known now, or `null`. */
export function unknown(one) {
  if (one.isKnown) return null;
  return one.status === undefined ? "no status yet" : `status ${age(one.ageSeconds)} old`;
}

/** Reasons why a node is not connected, in few words. */
const NOT_CONNECTED = { NoFabricSession: "no session", NoEvpnSession: "no L2VPN EVPN", NoUnderlay: "no Underlay", RouterUnreachable: "FRR is silent" };

/** The state of the way to the fabric, and its words. */
export function fabricState(one) {
  const why = unknown(one);
  if (why !== null) return { state: "unknown", text: why };
  const connected = condition(one, "FabricConnected");
  if (connected === undefined) return { state: "unknown", text: "not known" };
  if (connected.status !== "True") return { state: "fail", text: NOT_CONNECTED[connected.reason] ?? "not connected" };
  const down = (one.status.sessionsDown ?? []).filter(({ vrf }) => vrf === undefined).length;
  return down > 0 ? { state: "warning", text: `connected, ${down} down` } : { state: "ok", text: "connected" };
}

/** The state of all sessions of a node, and their number. */
export function sessionState(one) {
  if (!one.isKnown) return { state: "unknown", text: "sessions" };
  const { up, total } = one.status.sessions;
  return { state: up < total ? "fail" : "ok", text: `${up} of ${total} sessions` };
}

/** The state of an object on a node, and its words. */
export function resourceState(one, resource) {
  if (!one.isKnown) return { state: "unknown", text: `was ${resource.state.toLowerCase()}` };
  if (resource.state === "Ready") return { state: "ok", text: "ready" };
  return { state: "fail", text: resource.reason };
}

/** The sessions of a VRF that are down on a node. */
export const downIn = (one, vrf) => (one.status?.sessionsDown ?? []).filter((session) => vrf !== undefined && session.vrf === vrf);

/** A command that runs perouter on a node. */
export const onNode = (report, node, ...words) => command(["kubectl", "perouter", ...words, "--node", node ?? "NODE", ...report.target.options]);

/** What only the router of a node knows, and the command that shows it. */
export const notHere = (report, node, text, ...words) => element("div", { class: "nothing" }, text, onNode(report, node, ...words));

/** The state of several objects. */
export const together = (states) => worst(states.map(({ state }) => state));

/** The conditions, addresses and versions of a node in some lines. */
export function nodeLines({ status, ageSeconds }) {
  if (status === undefined) return ["no status yet"];
  const addresses = [status.vtep, status.vtep6].filter(Boolean);
  const routing = status.frrVersion ? `FRR ${status.frrVersion}, mode ${status.vrfMode}` : "FRR does not answer";
  return [`index ${status.index}, ${addresses.length > 0 ? `VTEP ${addresses.join(", ")}` : "no VTEP"}`, routing, ageSeconds === undefined ? null : `status ${age(ageSeconds)} old`].filter(Boolean);
}

export const sign = ({ state, text }) => `${signOf(state)} ${text}`;
