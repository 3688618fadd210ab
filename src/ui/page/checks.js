// The view Checks: the state of each part of the router, then what is wrong, the worst first. In: a report. Out: elements.

import { element } from "./dom.js";
import { matches, remaining } from "./filter.js";
import { FAMILIES, STATES, age, between, isWrong, sessionState, several, signOf, table } from "./state.js";

const MARKS = {
  error: { state: "fail", word: "✗ FAIL" },
  warning: { state: "warning", word: "! WARN" },
  info: { state: "info", word: "– info" },
};
const PLACES = [["vrf", "VRF"], ["vni", "VNI"], ["peer", "peer"], ["vtep", "VTEP"], ["prefix", "prefix"], ["link", "link"], ["daemon", "daemon"]];

/** One sentence on the whole router. */
export function verdict(report) {
  const count = (severity) => report.findings.filter((finding) => finding.severity === severity).length;
  const [errors, warnings] = [count("error"), count("warning")];
  if (errors > 0) {
    const more = warnings > 0 ? `, ${several(warnings, "warning")}` : "";
    return { state: "fail", sign: "✗", text: `${several(errors, "problem")}${more}` };
  }
  if (report.areas.some((area) => area.state === "unknown")) return { state: "unknown", sign: "?", text: "not everything could be read" };
  if (warnings > 0) return { state: "warning", sign: "!", text: several(warnings, "warning") };
  return { state: "ok", sign: "✓", text: "nothing is wrong" };
}

/** An area and its state. */
export function areaCard({ area, state, checked }) {
  const { sign, word } = STATES[state] ?? STATES.unknown;
  return element("div", { class: `area ${state}` }, element("b", {}, area), element("span", { class: "state" }, `${sign} ${word}`), element("p", {}, checked.replaceAll("Type-5", "Type\u20115")));
}

/** A finding with all that is known of it. */
function findingCard(finding, now) {
  const { state, word } = MARKS[finding.severity] ?? MARKS.info;
  const where = PLACES.filter(([key]) => finding.where[key] !== undefined).map(([key, name]) => `${name} ${finding.where[key]}`);
  const since = finding.since ? Date.parse(finding.since) / 1000 : null;
  const object = finding.object ? `${finding.object.kind} ${finding.object.namespace}/${finding.object.name} ${finding.field ?? ""}`.trim() : null;
  const row = (name, value, tag = "span", kind = "") =>
    value ? [element("dt", {}, name), element("dd", { class: kind }, element(tag, tag === "code" ? { class: "evidence" } : {}, value))] : [];
  return element(
    "article",
    { class: `finding ${state}` },
    element("h3", {}, element("span", { class: "mark" }, word), finding.what),
    element("p", { class: "where" }, [finding.node ? `node ${finding.node}` : null, ...where, finding.kind].filter(Boolean).join(" · ")),
    element(
      "dl",
      {},
      row("shown by", finding.evidence, "code"),
      row("remedy", finding.remedy, "span", "remedy"),
      row("object", object),
      row("since", since !== null && since < now ? `${age(now - since)} ago (${finding.since})` : null),
    ),
  );
}

/** What is wrong, the worst first and no more than `most`, then what is by intent or of no effect now. */
export function foundSections(report, choice, most = Infinity) {
  const now = Date.parse(report.time) / 1000;
  const found = remaining(report.findings, choice);
  const [wrong, intended] = [found.filter(isWrong), found.filter((finding) => !isWrong(finding))];
  const all = report.findings.filter(isWrong).length;
  const hidden = all - wrong.length;
  const nothing = all === 0 ? "Nothing is wrong." : "Nothing that is wrong matches the filter.";
  const cards = (findings) => findings.slice(0, most).map((finding) => findingCard(finding, now));
  const more = (findings) => (findings.length > most ? [element("p", { class: "nothing" }, `${findings.length - most} more: filter`)] : []);
  return [
    element("h2", {}, hidden > 0 ? `What is wrong (${hidden} hidden by the filter)` : "What is wrong"),
    ...(wrong.length > 0 ? cards(wrong) : [element("p", { class: "nothing" }, nothing)]),
    ...more(wrong),
    ...(intended.length > 0 ? [element("h2", {}, "By intent, or of no effect now"), ...cards(intended), ...more(intended)] : []),
  ];
}

function sessionRow(report, session) {
  const state = sessionState(report, session);
  const families = Object.entries(session.prefixes).map(([family, count]) => `${FAMILIES[family] ?? family} ${count.received} in, ${count.sent} out`);
  const since = session.since ?? session.downSince;
  const cells = [
    element("span", { class: "word" }, `${signOf(state)} ${session.state}`),
    session.vrf ?? "fabric",
    element("span", { class: "address" }, session.peer),
    session.remoteAs === null ? "" : String(session.remoteAs),
    since ? between(since, report.time) : "",
    families.join("; "),
  ];
  return { state, cells };
}

/** The view. */
export function checks(report, choice) {
  const sessions = report.sessions.filter(
    (session) =>
      (!choice.onlyBroken || sessionState(report, session) !== "ok") &&
      (choice.vrf === "" || session.vrf === choice.vrf) &&
      matches(session, choice.text),
  );
  const headers = ["state", "VRF", "peer", "AS", "for", "prefixes"];
  return [
    element("section", { class: "areas", "aria-label": "state of each area" }, report.areas.map(areaCard)),
    foundSections(report, choice),
    element("h2", {}, `Sessions (${sessions.length} of ${report.sessions.length})`),
    element("div", { class: "scroll" }, table(headers, sessions.map((session) => sessionRow(report, session)))),
  ].flat();
}
