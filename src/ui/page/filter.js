// What is shown. In: findings or sessions, and what the person has chosen. Out: those that remain.

import { covers, parseAddress } from "./address.js";
import { isWrong } from "./state.js";

/** Every text in a value. */
function texts(value) {
  if (value === null || value === undefined) return [];
  if (typeof value === "object") return Object.values(value).flatMap(texts);
  return [String(value)];
}

/** Whether a value has the text in it; an address is also found in the prefixes that cover it. */
export function matches(value, text) {
  const wanted = text.trim().toLowerCase();
  if (wanted === "") return true;
  const found = texts(value);
  if (found.some((part) => part.toLowerCase().includes(wanted))) return true;
  const address = parseAddress(wanted);
  return address !== null && found.some((part) => covers(part, address));
}

/** The findings that remain. Those without a VRF concern all of them. */
export function remaining(findings, { text, node, vrf, onlyBroken }) {
  return findings.filter(
    (finding) =>
      (node === "" || (finding.node ?? node) === node) &&
      (!onlyBroken || isWrong(finding)) &&
      (vrf === "" || (finding.where.vrf ?? vrf) === vrf) &&
      matches(finding, text),
  );
}
