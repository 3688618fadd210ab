// The page: reports of a router, or of all nodes of a cluster, arrive as events, the person chooses what to see. It changes nothing.

import { allChecks } from "./all_checks.js";
import { allFabric } from "./all_fabric.js";
import { allNode } from "./all_node.js";
import { allPathView } from "./all_path.js";
import { allVrf } from "./all_vrf.js";
import { changes } from "./changes.js";
import { checks, verdict } from "./checks.js";
import { expanded, isCluster, vrfNames } from "./cluster.js";
import { element } from "./dom.js";
import { fabric } from "./fabric.js";
import { node } from "./node.js";
import { pathView } from "./path.js";
import { request } from "./request.js";
import { age, l3vnis, several, signOf, worst } from "./state.js";
import { shownVrf, vrf } from "./vrf.js";

/** A report is shown as old this long after the next read begins: a read takes less. */
const READ_SECONDS = 25;

/** Each view with the areas of the checks whose state its tab shows. */
const VIEWS = {
  checks: { name: "Checks", areas: ["router", "objects", "links", "fabric", "host", "evpn"] },
  fabric: { name: "Fabric", areas: ["fabric", "host", "evpn"] },
  node: { name: "Node", areas: ["router", "objects", "links", "fabric", "host"] },
  vrf: { name: "VRF", areas: ["fabric", "host", "evpn"] },
  path: { name: "Path", areas: [] },
  changes: { name: "Changes", areas: [] },
};

const at = (id) => document.getElementById(id);
let report = null;
let received = null;
/** The pause of the server before the next read. */
let pause = null;
let problem = null;
/** What the last event has as the number of changes, and the changes that were fetched. */
let changeNumber = null;
let changeList = null;
let range = { from: null, to: null };
/** The routes of one VRF, and whether they are being read. */
let routes = null;
let reading = null;
const path = pathView(() => report);
const allPath = allPathView();

/** `#/fabric`: no name of an element, to which a browser would go. */
const view = () => (Object.hasOwn(VIEWS, location.hash.slice(2)) ? location.hash.slice(2) : "checks");

function choice() {
  return { text: at("filter").value, node: at("one-node").value, vrf: at("vrf").value, onlyBroken: at("broken").checked };
}

/** The names that a person can choose; the choice stays where it is one of them. */
function offer(select, names) {
  const chosen = select.value;
  if (names.join() === [...select.options].slice(1).map((option) => option.value).join() && select.options.length > 0) return;
  const options = [element("option", { value: "" }, "all"), ...names.map((name) => element("option", { value: name }, name))];
  select.replaceChildren(...options);
  select.value = names.includes(chosen) ? chosen : "";
}

function routerVrfs() {
  const all = [...report.sessions.map((session) => session.vrf), ...report.findings.map((finding) => finding.where.vrf), ...l3vnis(report).map((vni) => vni.vrf)];
  return [...new Set(all)].filter(Boolean).sort();
}

function showChoices() {
  offer(at("vrf"), isCluster(report) ? vrfNames(report) : routerVrfs());
  offer(at("one-node"), isCluster(report) ? report.nodes.map(({ node }) => node) : []);
  at("of-node").hidden = !isCluster(report);
}

function showTabs() {
  const tabs = Object.entries(VIEWS).map(([id, { name, areas }], index) => {
    const state = report === null || areas.length === 0 ? null : worst(report.areas.filter(({ area }) => areas.includes(area)).map(({ state }) => state));
    const sign = state === null ? null : element("span", { class: `word ${state}` }, `${signOf(state)} `);
    const current = id === view() ? "page" : null;
    return element("a", { href: `#/${id}`, "aria-current": current, "data-key": `tab ${id}` }, sign, name, " ", element("kbd", {}, String(index + 1)));
  });
  replace(at("views"), tabs);
}

/** New elements in place of the old ones; the focus stays where it was. */
function replace(place, elements) {
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...elements.filter((one) => one !== null && one !== undefined));
  if (key !== undefined) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

function selectVrf(name) {
  at("vrf").value = name;
  show();
  readMore();
}

/** Reads the routes of the VRF that is shown, one request at a time. */
async function readRoutes(name) {
  if (name === null || reading !== null) return;
  reading = name;
  const { document: list, problem } = await request("routes", { vrf: name });
  [routes, reading] = [{ vrf: name, list, problem }, null];
  if (view() !== "vrf") return;
  if (!isBusy()) show();
  // Another one was chosen meanwhile.
  if (shownVrf(report, choice()) !== name) readRoutes(shownVrf(report, choice()));
}

async function readChanges(number) {
  try {
    const response = await fetch("changes");
    [changeList, changeNumber] = [await response.json(), number];
  } catch {
    return;
  }
  if (view() === "changes" && !isBusy()) show();
}

function shownChanges() {
  return changes(changeList, choice(), {
    range,
    choose: (chosen) => {
      range = chosen;
      show();
    },
  });
}

function shownOfCluster() {
  switch (view()) {
    case "fabric":
      return allFabric(report, choice());
    case "node":
      return allNode(report, choice());
    case "vrf":
      return allVrf(report, choice());
    case "path":
      return allPath.shown(report, choice());
    case "changes":
      return shownChanges();
    default:
      return allChecks(report, choice());
  }
}

function shown() {
  switch (view()) {
    case "fabric":
      return fabric(report, choice());
    case "node":
      return node(report, choice());
    case "vrf":
      return vrf(report, choice(), { routes, select: selectVrf });
    case "path":
      path.inVrf(choice().vrf);
      return path.elements;
    case "changes":
      return shownChanges();
    default:
      return checks(report, choice());
  }
}

function show() {
  showTabs();
  for (const id of ["filter", "broken"]) at(id).closest("label").hidden = view() === "path";
  if (report === null) {
    replace(at("view"), problem === null ? [] : [element("p", { class: "cause fail" }, element("b", {}, `✗ ${problem}`))]);
    return;
  }
  const { state, sign, text } = verdict(report);
  const name = isCluster(report) ? several(report.nodes.length, "node") : (report.node ?? "");
  at("node").textContent = name;
  document.title = `${sign} ${name} perouter`;
  at("verdict").className = state;
  at("verdict").dataset.sign = sign;
  // A text that stays is not read aloud again.
  if (at("verdict").textContent !== text) at("verdict").textContent = text;
  const elements = isCluster(report) ? shownOfCluster() : shown();
  const same = elements.length === at("view").children.length && elements.every((one, index) => one === at("view").children[index]);
  if (!same) replace(at("view"), elements);
}

/** A person who selects text, or has a list open, is not disturbed by what was read. */
function isBusy() {
  const selection = getSelection();
  const selects = !selection.isCollapsed && at("view").contains(selection.anchorNode);
  return selects || (document.activeElement instanceof HTMLSelectElement && at("view").contains(document.activeElement));
}

function showAge() {
  const seconds = received === null ? null : (Date.now() - received) / 1000;
  const isOld = problem !== null || seconds === null || seconds > pause + READ_SECONDS;
  at("age").className = isOld ? "old" : "";
  const read = seconds === null ? "nothing read yet" : `read ${age(seconds)} ago`;
  at("age").textContent = problem === null ? read : `${problem}; ${read}`;
}

/** What is read beside the report, where the view needs it. */
function readMore() {
  if (report !== null && !isCluster(report) && view() === "vrf") readRoutes(shownVrf(report, choice()));
}

function follow() {
  const events = new EventSource("events");
  const noteChanges = (event) => {
    if (event.lastEventId !== String(changeNumber)) readChanges(event.lastEventId);
  };
  events.addEventListener("report", (event) => {
    const read = JSON.parse(event.data);
    report = isCluster(read.report) ? expanded(read.report) : read.report;
    [received, pause, problem] = [Date.now(), read.pauseSeconds, null];
    showChoices();
    if (!isBusy()) show();
    showAge();
    readMore();
    noteChanges(event);
  });
  events.addEventListener("problem", (event) => {
    problem = JSON.parse(event.data).problem;
    if (report === null) show();
    showAge();
    noteChanges(event);
  });
  events.addEventListener("error", () => {
    problem = "no connection to `perouter ui`";
    showAge();
  });
}

/** The lists of which a key chooses the next one. */
const CHOICES = { v: "vrf", n: "one-node" };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target instanceof HTMLInputElement && event.target.type === "search";
  const tab = Object.keys(VIEWS)[Number(event.key) - 1];
  if (event.key === "Escape" && field) {
    event.target.value = "";
    event.target.blur();
    show();
  } else if (field) {
    return;
  } else if (event.key === "/") {
    event.preventDefault();
    if (view() === "path") (isCluster(report) ? allPath : path).focus();
    else at("filter").focus();
  } else if (event.key === "b" && view() !== "path") {
    at("broken").checked = !at("broken").checked;
    show();
  } else if (Object.hasOwn(CHOICES, event.key) && event.target !== at(CHOICES[event.key])) {
    // The next VRF or node.
    const select = at(CHOICES[event.key]);
    select.selectedIndex = (select.selectedIndex + 1) % Math.max(1, select.options.length);
    show();
    readMore();
  } else if (tab !== undefined) {
    location.hash = `/${tab}`;
  }
}

for (const id of ["filter", "one-node", "vrf", "broken"]) {
  at(id).addEventListener("input", () => {
    show();
    readMore();
  });
}
addEventListener("hashchange", () => {
  show();
  readMore();
});
document.addEventListener("keydown", onKey);
setInterval(showAge, 1000);
show();
showAge();
follow();
