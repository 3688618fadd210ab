// The view Path of a cluster: a trace needs the router of a node. In: what a person types. Out: the command that traces it there.

import { onNode, shownNode } from "./cluster.js";
import { element } from "./dom.js";

/** The form and the command; made once: what is typed stays. */
export function allPathView() {
  const field = (name, label, placeholder) => {
    const input = element("input", { name, type: "search", autocomplete: "off", spellcheck: "false", placeholder, size: "20" });
    return { input, label: element("label", {}, element("span", {}, label), " ", input) };
  };
  const to = field("to", "to", "172.30.0.10");
  const from = field("from", "from", "an example");
  const result = element("div", { class: "result" });
  const form = element("form", { class: "query" }, to.label, from.label);
  const section = element("section", { class: "nothing" }, element("p", {}, "A path is traced by the router of a node, which this page does not reach. Choose the node at the top, and run:"), result);
  let last = { report: null, choice: null };

  function update() {
    const { report, choice } = last;
    if (report === null) return;
    const source = from.input.value.trim();
    const words = ["trace", to.input.value.trim() || "ADDRESS", ...(source ? ["--from", source] : []), ...(choice.vrf ? ["--vrf", choice.vrf] : [])];
    result.replaceChildren(onNode(report, shownNode(report, choice)?.node, ...words));
  }

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  return {
    focus: () => to.input.focus(),
    /** The elements for a report. */
    shown(report, choice) {
      last = { report, choice };
      update();
      return [form, section];
    },
  };
}
