// Commands to copy. In: words. Out: a line that a shell reads as these words, and an element with it.

import { element } from "./dom.js";

/** A word as a shell reads it: names are supplied by peers and objects. */
export function quoted(word) {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

export const commandLine = (words) => words.map((word) => quoted(String(word))).join(" ");

/** `perouter` with the options of this router. */
export const perouter = (report, ...words) => ["perouter", ...words, ...report.target.options];

/** `ip` where the links of a VRF are; of the underlay without a name. */
export function ip(report, vrf, ...words) {
  const dir = report.target.vrfNetnsDir;
  return vrf && dir ? ["nsenter", `--net=${dir}/${vrf}`, "ip", ...words] : ["ip", "-n", report.target.netns, ...words];
}

async function copy(line, code, button) {
  try {
    await navigator.clipboard.writeText(line);
    button.textContent = "copied";
  } catch {
    // Without permission, or over plain HTTP from elsewhere: Ctrl-C copies what is selected.
    getSelection().selectAllChildren(code);
    button.textContent = "selected";
  }
}

/** The command with a button that copies it. */
export const command = (words) => copied(commandLine(words));

/** A line as it is, with a button that copies it. */
export function copied(line) {
  const code = element("code", {}, line);
  const button = element("button", { type: "button", "data-key": line, "aria-label": `copy ${line}` }, "copy");
  button.addEventListener("click", () => copy(line, code, button));
  return element("div", { class: "command" }, code, button);
}
