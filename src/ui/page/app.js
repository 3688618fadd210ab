// The page: reports arrive as events, the person chooses what to see. It changes nothing on the router.

import { age, checks, verdict } from "./checks.js";
import { element } from "./dom.js";

/** A report that is older is shown as old; one arrives every few seconds. */
const OLD_SECONDS = 20;

const at = (id) => document.getElementById(id);
let report = null;
let received = null;
let problem = null;

function choice() {
  return { text: at("filter").value, vrf: at("vrf").value, onlyBroken: at("broken").checked };
}

function showVrfs() {
  const chosen = at("vrf").value;
  const names = [...new Set(report.sessions.map((session) => session.vrf).concat(report.findings.map((finding) => finding.where.vrf)))].filter(Boolean).sort();
  const options = [element("option", { value: "" }, "all"), ...names.map((name) => element("option", { value: name }, name))];
  at("vrf").replaceChildren(...options);
  at("vrf").value = names.includes(chosen) ? chosen : "";
}

function show() {
  if (report === null) return;
  const { state, sign, text } = verdict(report);
  at("node").textContent = report.node ?? "";
  document.title = `${sign} ${report.node ?? ""} perouter`;
  at("verdict").className = state;
  at("verdict").dataset.sign = sign;
  // A text that stays is not read aloud again.
  if (at("verdict").textContent !== text) at("verdict").textContent = text;
  at("view").replaceChildren(...checks(report, choice()));
}

function showAge() {
  const seconds = received === null ? null : (Date.now() - received) / 1000;
  const isOld = problem !== null || seconds === null || seconds > OLD_SECONDS;
  at("age").className = isOld ? "old" : "";
  const read = seconds === null ? "nothing read yet" : `read ${age(seconds)} ago`;
  at("age").textContent = problem === null ? read : `${problem}; ${read}`;
}

function follow() {
  const events = new EventSource("events");
  events.addEventListener("report", (event) => {
    report = JSON.parse(event.data);
    [received, problem] = [Date.now(), null];
    showVrfs();
    show();
    showAge();
  });
  events.addEventListener("problem", (event) => {
    problem = JSON.parse(event.data).problem;
    showAge();
  });
  events.addEventListener("error", () => {
    problem = "no connection to `perouter ui`";
    showAge();
  });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target instanceof HTMLInputElement && event.target.type === "search";
  if (event.key === "Escape" && field) {
    at("filter").value = "";
    at("filter").blur();
    show();
  } else if (!field && event.key === "/") {
    event.preventDefault();
    at("filter").focus();
  } else if (!field && event.key === "b") {
    at("broken").checked = !at("broken").checked;
    show();
  } else if (!field && event.key === "v" && event.target !== at("vrf")) {
    // The next VRF.
    const select = at("vrf");
    select.selectedIndex = (select.selectedIndex + 1) % Math.max(1, select.options.length);
    show();
  }
}

for (const id of ["filter", "vrf", "broken"]) at(id).addEventListener("input", show);
document.addEventListener("keydown", onKey);
setInterval(showAge, 1000);
showAge();
follow();
