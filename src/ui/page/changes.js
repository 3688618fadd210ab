// The view Changes: what changed while the page was served, and the difference between two points. In: the changes. Out: elements.

import { element } from "./dom.js";
import { matches } from "./filter.js";
import { badge, between, several, worstFirst } from "./state.js";

const SUBJECTS = { router: "router", node: "state", finding: "problem", object: "object", link: "link", session: "session", vni: "VNI", vtep: "VTEP", prefix: "service" };
const BAD = ["fail", "warning", "unknown"];

/** `session red 192.169.10.2`, where there are several nodes that of the node first. */
function nameOf({ node, subject, where, kind, object }) {
  const place = [where.vrf, where.vni === undefined ? null : `VNI ${where.vni}`, where.peer, where.vtep, where.prefix, where.link, where.daemon];
  const of = object && (subject === "object" || place.every((part) => part == null)) ? `${object.kind} ${object.namespace}/${object.name}` : null;
  return [node, kind ?? SUBJECTS[subject] ?? subject, ...place, of].filter((part) => part != null).join(" ");
}

const key = ({ node, subject, where, kind, object }) => JSON.stringify([node, subject, where, kind, object]);

/** What is after a change: the state, or that it is gone. */
function after({ subject, after: state }) {
  if (state) return badge(state.state, state.text);
  if (subject === "finding") return badge("ok", "no longer found");
  return badge(subject === "prefix" ? "warning" : "unknown", "gone");
}

/** How bad the change is: what is after it counts. */
export function changeState({ subject, after }) {
  if (after) return after.state;
  return subject === "finding" ? "ok" : subject === "prefix" ? "warning" : "unknown";
}

/** A change in one line: what a problem says, or what is in which state now. */
const headOf = (change) => (change.subject === "finding" ? change.after.text : `${nameOf(change)} ${change.after?.text ?? "gone"}`);

function changeRow(change) {
  const state = changeState(change);
  return element(
    "li",
    { class: `change ${state}` },
    element("span", { class: "name" }, nameOf(change)),
    element("span", { class: "sides" }, change.before ? [badge(change.before.state, change.before.text), element("span", { class: "arrow" }, "→")] : element("small", { class: "dim" }, "new "), after(change)),
  );
}

function wantedOf(changes, choice) {
  return changes.filter(
    (change) =>
      (choice.node === "" || (change.node ?? choice.node) === choice.node) &&
      (!choice.onlyBroken || BAD.includes(changeState(change))) &&
      (choice.vrf === "" || (change.where.vrf ?? choice.vrf) === choice.vrf) &&
      matches(change, choice.text),
  );
}

/** What is different after the last of some points: the first state before, the last state after. */
export function difference(points) {
  const found = new Map();
  for (const change of points.flatMap((point) => point.changes)) {
    const first = found.get(key(change));
    found.set(key(change), { ...change, before: first ? first.before : change.before });
  }
  const same = (a, b) => a?.state === b?.state && a?.text === b?.text;
  return [...found.values()].filter(({ before, after }) => !same(before, after));
}

const clock = (time) => time.slice(11, 19);

function pointCard(point, choice) {
  const changes = wantedOf(point.changes, choice);
  const isFirst = point.after === undefined;
  if (!isFirst && changes.length === 0) return null;
  const gap = isFirst ? null : Date.parse(point.time) - Date.parse(point.after) > 60_000 ? `within the ${between(point.after, point.time)} before, in which no page was open` : null;
  const left = point.leftOut ?? 0;
  return element(
    "li",
    { class: "point" },
    element("h3", {}, element("time", { datetime: point.time }, clock(point.time)), element("small", {}, point.time.slice(0, 10)), gap ? element("small", {}, gap) : null),
    isFirst ? element("p", { class: "dim" }, "first read") : element("ul", {}, worstFirst(changes, changeState).map(changeRow)),
    left > 0 ? element("p", { class: "dim" }, `${several(left, "more change")}`) : null,
  );
}

function chooser(name, label, points, chosen, choose) {
  const options = points.map((point) => element("option", { value: point.number }, `${clock(point.time)} (${point.after === undefined ? "first read" : several(point.changes.length, "change")})`));
  const select = element("select", { name, "data-key": name }, options);
  select.value = String(chosen);
  select.addEventListener("change", () => choose(Number(select.value)));
  return element("label", {}, element("span", {}, label), " ", select);
}

/** The view. `between` are the numbers of two points, or null for the first and the last; `choose` sets them. */
export function changes(list, choice, { range, choose }) {
  const points = list?.items ?? [];
  if (points.length === 0) return [element("p", { class: "nothing" }, "Nothing read yet.")];
  const known = (number, other) => (points.some((point) => point.number === number) ? number : other);
  const from = known(range.from, points[0].number);
  const to = known(range.to, points.at(-1).number);
  const different = wantedOf(difference(points.filter((point) => point.number > Math.min(from, to) && point.number <= Math.max(from, to))), choice);
  const bad = different.filter((change) => BAD.includes(changeState(change))).length;
  const state = different.some((change) => changeState(change) === "fail") ? "fail" : bad > 0 ? "warning" : "ok";
  const same = points.length === 1 ? `nothing changed since ${clock(points[0].time)} UTC` : "the same at both points";
  // A problem says more than the states that it changed.
  const ordered = worstFirst(different.toSorted((a, b) => Number(b.subject === "finding") - Number(a.subject === "finding")), changeState);
  const worst = bad === 0 ? "" : `: ${headOf(ordered[0])}`;
  const text = different.length === 0 ? same : `${several(different.length, "difference")}${bad > 0 ? `, ${bad} to the worse` : ""}${worst}`;
  const cards = points.toReversed().map((point) => pointCard(point, choice)).filter(Boolean);
  return [
    element("p", { class: `headline ${state}` }, `${state === "ok" ? "✓" : state === "fail" ? "✗" : "!"} ${text}`),
    points.length === 1 ? null : element("section", { class: "compare" }, chooser("from", "between", points, from, (number) => choose({ from: number, to })), chooser("to", "and", points, to, (number) => choose({ from, to: number }))),
    different.length > 0 ? element("ul", { class: "difference" }, ordered.map(changeRow)) : null,
    element("h2", {}, "Timeline, the latest first (UTC)"),
    element("ol", { class: "timeline" }, cards),
  ];
}
