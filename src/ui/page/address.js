// IP addresses and prefixes, as far as the filter needs them.

/** The bits of an address and their number, or null where the text is none. */
export function parseAddress(text) {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) {
    const parts = text.split(".").map(Number);
    if (parts.some((part) => part > 255)) return null;
    return { bits: parts.reduce((bits, part) => (bits << 8n) | BigInt(part), 0n), size: 32 };
  }
  if (!/^[0-9a-f:]+$/i.test(text) || !text.includes(":")) return null;
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")));
  const known = groups.flat();
  const missing = 8 - known.length;
  if (known.some((group) => !/^[0-9a-f]{1,4}$/i.test(group)) || missing < 0 || (halves.length === 1) !== (missing === 0)) return null;
  const all = halves.length === 1 ? known : [...groups[0], ...Array(missing).fill("0"), ...groups[1]];
  return { bits: all.reduce((bits, group) => (bits << 16n) | BigInt(`0x${group}`), 0n), size: 128 };
}

/** Whether a prefix covers an address. */
export function covers(prefix, address) {
  const [text, length] = prefix.split("/");
  const network = parseAddress(text);
  if (!network || network.size !== address.size || !/^\d{1,3}$/.test(length ?? "") || Number(length) > network.size) return false;
  const rest = BigInt(network.size - Number(length));
  return network.bits >> rest === address.bits >> rest;
}
