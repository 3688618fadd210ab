// The view Path: the path of packets to an address, and of the replies, as `perouter trace -o json` has them. In: what a person types.
// Out: elements. A path is traced only when a person wants it: it uses FRR's time.

import { command, copied, perouter } from "./command.js";
import { element } from "./dom.js";
import { request } from "./request.js";
import { STATES, badge, signOf } from "./state.js";

const NAMES = { host: "host", segment: "segment", vrf: "VRF", kernel: "kernel", type2: "Type-2", type5: "Type-5", fabric: "fabric", underlay: "underlay", links: "links" };
const DIRECTIONS = {
  "host-to-fabric": "from the host to the fabric",
  "fabric-to-host": "from the fabric to the host",
  "workload-to-fabric": "from a workload to the fabric",
  "fabric-to-workload": "from the fabric to a workload",
  "within-node": "within this node",
  "within-segment": "within the segment",
};

const stepState = (step) => (!step.ok ? "fail" : step.warning ? "warning" : "ok");

/** What shows a step: `bgpd: show …` as a command of the node, or a command of the node. */
function shownBy(report, evidence) {
  const [daemon, ...rest] = evidence.split(": ");
  const isDaemon = ["bgpd", "zebra"].includes(daemon) && rest.length > 0;
  return isDaemon ? command(["vtysh", "--vty_socket", report.target.vtyDir, "-c", rest.join(": ")]) : copied(evidence);
}

function stepItem(report, step) {
  const state = stepState(step);
  return element(
    "li",
    { class: `step ${state}` },
    element("span", { class: "word" }, `${signOf(state)} ${NAMES[step.at] ?? step.at}`),
    element("div", {}, element("p", {}, step.text), (step.branches ?? []).map((branch) => element("p", { class: "branch" }, branch)), step.evidence ? shownBy(report, step.evidence) : null),
  );
}

/** The hops in one line; after the one where it stops nothing is known. */
function chain(path) {
  const stop = path.steps.findIndex((step) => !step.ok);
  const hops = path.steps.map((step, at) => badge(stop >= 0 && at > stop ? "unknown" : stepState(step), NAMES[step.at] ?? step.at));
  const end = path.complete ? [] : [badge("unknown", "not reached")];
  return element("p", { class: "chain" }, [...hops, ...end].flatMap((hop, at) => (at > 0 ? [element("span", { class: "arrow" }, "→"), hop] : [hop])));
}

function pathCard(report, path) {
  const stop = path.steps.find((step) => !step.ok);
  // Behind other steps the reason is far below, on a phone on another screen.
  const why = stop === path.steps[0] ? "" : `: ${stop?.text}`;
  const state = path.complete ? "ok" : "fail";
  const example = path.example ? ", as an example" : "";
  return element(
    "article",
    { class: `path ${state}` },
    element("h3", {}, `to ${path.to}`, element("small", {}, `VRF ${path.vrf}, VNI ${path.vni}${path.direction ? `, ${DIRECTIONS[path.direction]}` : ""}${example}`)),
    element("p", { class: `headline ${state}` }, stop ? `${STATES.fail.sign} stops at ${NAMES[stop.at] ?? stop.at}${why}` : `${STATES.ok.sign} complete`),
    chain(path),
    element("ol", { class: "steps" }, path.steps.map((step) => stepItem(report, step))),
  );
}

/** Paths by VRF; where one VRF has the address, those without it are named only. */
function answer(report, { items }, query) {
  const isFound = items.some((path) => path.to === query.to && path.prefix);
  const others = items.filter((path) => isFound && !path.prefix && !path.example && path.to === query.to);
  const without = new Set(others.map((path) => path.vrf));
  const shown = items.filter((path) => !without.has(path.vrf));
  const words = ["trace", query.to, ...(query.from ? ["--from", query.from] : []), ...(query.vrf ? ["--vrf", query.vrf] : [])];
  return [
    element("div", { class: "paths" }, shown.map((path) => pathCard(report, path))),
    without.size > 0 ? element("p", { class: "nothing" }, `no route to ${query.to} in VRF ${[...without].join(", ")}`) : null,
    command(perouter(report, ...words)),
  ];
}

/** The form and the last answer; `report` gives the last report. Made once: what is typed stays. */
export function pathView(report) {
  const field = (name, label, placeholder) => {
    const input = element("input", { name, type: "search", autocomplete: "off", spellcheck: "false", placeholder, size: "20" });
    return { input, label: element("label", {}, element("span", {}, label), " ", input) };
  };
  const to = field("to", "to", "172.30.0.10");
  const from = field("from", "from", "an example");
  const result = element("div", { class: "result", "aria-live": "polite" }, element("p", { class: "nothing" }, "An address of a service or of a host in the fabric: both directions are traced."));
  const form = element("form", { class: "query" }, to.label, from.label, element("button", { type: "submit" }, "Trace"));
  let vrf = "";
  let last = 0;

  async function trace() {
    const query = { to: to.input.value.trim(), from: from.input.value.trim(), vrf };
    const number = ++last;
    result.replaceChildren(element("p", { class: "nothing" }, "being traced"));
    const { document, problem } = await request("trace", query);
    const shown = document ? answer(report(), document, query) : [element("p", { class: "cause fail" }, element("b", {}, `✗ ${problem}`))];
    // A later request has a later answer.
    if (number === last) result.replaceChildren(...shown.filter(Boolean));
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (report() !== null) trace();
  });
  return {
    elements: [form, result],
    focus: () => to.input.focus(),
    /** Another VRF is chosen: the same path is traced in it. */
    inVrf(name) {
      if (name === vrf) return;
      vrf = name;
      if (last > 0) trace();
    },
  };
}
