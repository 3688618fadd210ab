// The views of a router of the lab in Chromium. In: paths of playwright-core and Chromium, the address of the page, and whether the fabric
// is `good` or `broken`: its leaf has no L2VPN EVPN for the node. Out: exit status 0 if each view says so.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { seen } from "./screen.mjs";

const [playwright, chromium, url, state] = process.argv.slice(2);
const { chromium: engine } = createRequire(import.meta.url)(playwright);
// Chromium has no sandbox of its own as root.
const browser = await engine.launch({ executablePath: chromium, args: ["--no-sandbox"] });
const FAULT = /L2VPN EVPN is not negotiated with 192.168.11.2/;

/** Each view, what it waits for, and what names the fault. */
const VIEWS = [
  ["", ".area", ".cause, .finding, main tr, main li, main article"],
  ["fabric", ".edge", ".headline"],
  ["node", ".hop", ".cause, .headline"],
  ["vrf", "h2 + .scroll", ".headline"],
  ["path", ".query", ".path .headline"],
  ["changes", ".point", ".change"],
];

async function trace(page) {
  await page.keyboard.press("/");
  await page.keyboard.type("172.30.0.10");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".path .headline");
}

for (const [view, ready, names] of VIEWS) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 860 } });
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("request", (request) => request.url().startsWith(url) || problems.push(`a request to ${request.url()}`));
  await page.goto(`${url}#/${view}`);
  await page.waitForSelector(ready);
  await page.waitForSelector("#verdict:not(:empty)");
  if (view === "path") await trace(page);
  const text = await page.locator("main").innerText();
  if (state === "broken") {
    await seen(page, names, view === "changes" ? /L2VPN EVPN|family-not-negotiated/ : FAULT);
    assert.match(await page.locator("#verdict").innerText(), /problem/);
  } else {
    // What changed until the fabric was good is in Changes.
    if (view !== "changes") assert.ok(!text.includes("✗"), `${view}: ${text}`);
    assert.equal(await page.locator("#verdict").innerText(), "nothing is wrong");
  }
  assert.deepEqual(problems, [], view);
  await context.close();
}
await browser.close();
