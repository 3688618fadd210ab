// The page in Chromium. In: paths of playwright-core and Chromium, where screenshots go, and the addresses of routers: a good one, one
// with broken sessions, one with broken routes, one with a peer whose name looks like HTML, one whose bgpd does not answer, one that has
// faults one after the other, and all nodes of a cluster, the second time with one that recovers. Out: exit status 0 if a person sees
// what is wrong; else what they do not see.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { allNodes } from "./nodes.mjs";
import { fits, hasSigns, missing, readable, seen, shotsIn, someTexts, texts } from "./screen.mjs";

const [playwright, chromium, folder, good, broken, brokenRoutes, hostile, silent, changing, cluster, recovering] = process.argv.slice(2);
const { chromium: engine } = createRequire(import.meta.url)(playwright);
const shot = shotsIn(folder);
// Chromium has no sandbox of its own as root.
const browser = await engine.launch({ executablePath: chromium, args: ["--no-sandbox"] });

/** Opens a view, by default Checks, and waits until it shows `ready`. */
async function open(url, colorScheme, { view = "", ready = ".area", width = 1200, height = 860 } = {}) {
  const context = await browser.newContext({ colorScheme, viewport: { width, height } });
  const page = await context.newPage();
  const problems = [];
  // A request that is answered with an error is part of some views.
  page.on("console", (message) => message.text().includes("status of 422") || message.text().includes("status of 400") || problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) problems.push(`a request to ${request.url()}`);
  });
  await page.goto(`${url}#/${view}`);
  await page.waitForSelector(ready);
  return { page, problems, close: () => context.close() };
}

/** A view of a router that is well says so, with nothing marked as a fault. */
async function wellIn(view, ready) {
  const { page, problems, close } = await open(good, "light", { view, ready });
  assert.equal(await page.locator(".headline").first().innerText(), "✓ the checks find nothing wrong");
  assert.equal(await page.locator("main :is(.fail, .warning, .cause)").count(), 0);
  await shot(page, `${view}-good`);
  assert.deepEqual(problems, []);
  await close();
}

async function onPhone(url, view, ready, words, selector = ".headline") {
  const { page, problems, close } = await open(url, "light", { view, ready, width: 390, height: 844 });
  await fits(page);
  await seen(page, selector, words);
  await shot(page, `${view}-broken-phone`);
  assert.deepEqual(problems, []);
  await close();
}

async function fabric() {
  await wellIn("fabric", ".edge");
  for (const scheme of ["light", "dark"]) {
    const { page, problems, close } = await open(broken, scheme, { view: "fabric", ready: ".edge" });
    assert.match(await page.locator(".headline").innerText(), /^✗ L2VPN EVPN is not negotiated with 192.168.11.2/);
    assert.match(await page.locator(".leaves .edge").innerText(), /✗ Established 2h 3m, family not negotiated/);
    assert.match(await page.locator(".leaves .cause").first().innerText(), /activate the neighbor 192.168.11.3/);
    const lanes = await texts(page, ".lanes .link");
    assert.equal(lanes.length, 2);
    assert.match(lanes.find((text) => text.includes("VNI 200")), /✗ Active[\s\S]*enable the neighbor 192.169.11.1 at 192.169.11.2/);
    assert.match(lanes.find((text) => text.includes("VNI 100")), /✓ Established/);
    await seen(page, ".leaves .cause", /activate the neighbor 192.168.11.3/);
    await seen(page, ".lanes .cause", /enable the neighbor 192.169.11.1/);
    await hasSigns(page, ".edge:not(.short):is(.fail, .warning)");
    await readable(page, scheme, [".headline", ".edge.fail .label", ".edge.ok .label", ".edge.ok small", ".cause b", ".cause span", ".box small", "#views a"]);
    await shot(page, `fabric-broken-${scheme}`);
    await page.keyboard.press("v");
    assert.deepEqual(await texts(page, ".lanes .box.vrf b"), ["! blue"]);
    assert.deepEqual(problems, []);
    await close();
  }
  const { page, close } = await open(brokenRoutes, "light", { view: "fabric", ready: "tbody tr" });
  const vteps = await texts(page, "tbody tr.fail, tbody tr.warning");
  assert.ok(vteps.some((text) => /100\.64\.0\.1\b.*✗ 0 of 2.*does not import/s.test(text)), vteps.join("\n"));
  assert.ok(vteps.some((text) => /100\.64\.0\.9.*no route leads to VTEP/s.test(text)), vteps.join("\n"));
  await page.keyboard.press("b");
  assert.equal((await texts(page, "tbody tr")).length, 2);
  await close();
  await onPhone(broken, "fabric", ".edge", /L2VPN EVPN is not negotiated with 192.168.11.2/);
}

async function node() {
  await wellIn("node", ".hop");
  for (const scheme of ["light", "dark"]) {
    const { page, problems, close } = await open(broken, scheme, { view: "node", ready: ".hop" });
    const hops = await texts(page, ".hop");
    const of = (words) => hops.find((text) => words.every((word) => text.includes(word)));
    assert.match(of(["leafkind"]), /✗ fail[\s\S]*192.168.11.2, AS 64512[\s\S]*Established for 2h 3m[\s\S]*address family not negotiated[\s\S]*ip -n perouter neigh show to 192.168.11.2/);
    assert.match(of(["NIC", "toswitch"]), /! warning[\s\S]*MTU 1500[\s\S]*192.168.11.3\/24[\s\S]*ip -n perouter -s -d link show toswitch/);
    assert.match(of(["underlay"]), /✗ fail[\s\S]*VTEP 100.65.0.1[\s\S]*perouter sessions default -o wide/);
    assert.match(of(["pe-200 ⇄ host-200"]), /✓ ok[\s\S]*192.169.11.1\/24[\s\S]*ip -s addr show host-200/);
    assert.match(of(["host speaker", "192.169.11.2"]), /✗ fail[\s\S]*Active for 1h 6m[\s\S]*perouter sessions blue -o wide/);
    assert.match(await page.locator(".lane", { hasText: "blue" }).locator(".cause").innerText(), /enable the neighbor/);
    await seen(page, ".cause", /activate the neighbor 192.168.11.3/);
    await seen(page, ".cause", /set MTU 1550/);
    await seen(page, ".cause", /enable the neighbor 192.169.11.1/);
    await readable(page, scheme, [".hop.fail .word", ".hop.ok .word", ".hop .place", ".hop small", ".command code", ".command button"]);
    await shot(page, `node-broken-${scheme}`);
    assert.deepEqual(problems, []);
    await close();
  }
  const { page, problems, close } = await open(broken, "light", { view: "node", ready: ".hop" });
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.locator(".hop", { hasText: "toswitch" }).getByRole("button").click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "ip -n perouter -s -d link show toswitch");
  await page.keyboard.press("/");
  await page.keyboard.type("192.169.11.2");
  assert.deepEqual(await texts(page, ".lane .hops > .hop:first-child > b"), ["blue"]);
  // A name of a peer is one word of a command.
  assert.equal(await page.evaluate(async () => (await import("./command.js")).commandLine(["ip", "a b", "x';reboot"])), "ip 'a b' 'x'\\'';reboot'");
  assert.deepEqual(problems, []);
  await close();
  await onPhone(broken, "node", ".hop", /L2VPN EVPN is not negotiated with 192.168.11.2/);
}

async function vrf() {
  const { page: ok, close: closeOk } = await open(good, "light", { view: "vrf", ready: "h2 + .scroll" });
  assert.deepEqual(await texts(ok, "tbody tr :is(.fail, .warning)"), []);
  assert.match(await ok.locator("main").innerText(), /172.30.0.16\/32[\s\S]*✓ Type-5 route sent to 192.168.11.2/);
  await closeOk();
  await wellIn("vrf", "h2 + .scroll");
  for (const scheme of ["light", "dark"]) {
    const { page, problems, close } = await open(brokenRoutes, scheme, { view: "vrf", ready: "h2 + .scroll" });
    const [blue, red] = await texts(page, "table:not(h2 ~ * table) tbody tr");
    assert.match(blue, /blue[\s\S]*! 1[\s\S]*✓ 2 of 2[\s\S]*✗ 0 of 2/);
    assert.match(red, /red[\s\S]*✗ 2 of 3/);
    // The VRF with the worst finding is the one that is shown.
    await seen(page, ".cause", /✗ no route leads to VTEP 100.64.0.9/);
    await seen(page, "tr.fail", /10.90.0.0\/16[\s\S]*✗ no path can be used: its next hop is unreachable/);
    await readable(page, scheme, ["tr.fail .word", ".badge.fail", ".badge.ok", ".cause b", "td", "th"]);
    await shot(page, `vrf-broken-${scheme}`);
    await page.getByRole("button", { name: "blue", exact: true }).click();
    await page.waitForSelector("text=172.30.0.17/32");
    await seen(page, ".headline", /^! VTEP 100.64.0.1 advertises|^! 192.169.11.2 advertises/);
    await seen(page, "tr.warning", /172.30.0.17\/32[\s\S]*! filtered: its next hop is not the host's/);
    await seen(page, ".cause", /which VRF blue does not import: they have the route target 64520:299, and it imports 64514:200/);
    await readable(page, scheme, ["tr.warning .word"]);
    await shot(page, `vrf-broken-targets-${scheme}`);
    await page.locator("#vrf").selectOption("red");
    await page.locator("#vrf").evaluate((list) => list.blur());
    await page.waitForSelector("text=10.90.0.0/16");
    await page.keyboard.press("b");
    assert.ok((await someTexts(page, "h2 ~ .scroll tbody tr .word")).every((text) => !text.includes("✓")));
    assert.deepEqual(problems, []);
    await close();
  }
  // No VRF sends a Type-5 route where the fabric is broken: its view says why.
  const { page, close } = await open(broken, "light", { view: "vrf", ready: "h2 + .scroll" });
  await page.locator("#vrf").selectOption("red");
  await seen(page, ".headline", /^✗ L2VPN EVPN is not negotiated with 192.168.11.2/);
  await seen(page, "tr.fail", /red[\s\S]*✗ 0 of 2/);
  assert.match(await page.locator("#views a", { hasText: "VRF" }).innerText(), /^✗/);
  await close();
  await onPhone(brokenRoutes, "vrf", "h2 + .scroll", /no route leads to VTEP 100.64.0.9/);
  await firstRoutes();
}

/** Of a VRF with many routes the page has the first ones only, and a filter says so. Text that is selected stays when they arrive. */
async function firstRoutes() {
  const { page, problems, close } = await open(good, "light");
  let arrive;
  const selected = new Promise((resolve) => (arrive = resolve));
  await page.route("**/routes?*", async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    json.metadata.remainingItemCount = 2000;
    await selected;
    await route.fulfill({ response, json });
  });
  await page.keyboard.press("4");
  await page.waitForSelector("text=being read");
  const select = () => getSelection().selectAllChildren(document.querySelector("main .headline"));
  await page.evaluate(select);
  const answered = page.waitForResponse("**/routes?*");
  arrive();
  await (await answered).finished();
  await page.waitForTimeout(100);
  assert.match(await page.evaluate(() => getSelection().toString()), /nothing wrong/);
  await page.evaluate(() => getSelection().removeAllRanges());
  await page.waitForSelector("text=Only prefixes of the first 4 of 2004 are shown and filtered");
  await page.keyboard.press("/");
  await page.keyboard.type("203.0.113.1");
  assert.deepEqual(await texts(page, "h2 + .nothing"), Array(2).fill("none of the first 4 of 2004 matches the filter"));
  assert.deepEqual(problems, []);
  // A change of the router has the page read its routes again, perhaps while it closes.
  await page.unrouteAll({ behavior: "wait" });
  await close();
}

/** What a peer supplies stays text. */
async function hostileText() {
  for (const [view, ready] of [["", ".area"], ["fabric", ".edge"], ["node", ".hop"], ["vrf", "h2 + .scroll"], ["changes", ".point"]]) {
    const { page, problems, close } = await open(hostile, "light", { view, ready });
    if (!["vrf", "changes"].includes(view)) assert.ok((await page.locator("main").innerText()).includes("<img src=x onerror=alert(1)>"), view);
    assert.equal(await page.locator("main img").count(), 0);
    assert.deepEqual(problems, []);
    await close();
  }
}

/** What could not be read is not shown as well. */
async function unread() {
  const { page, problems, close } = await open(silent, "light");
  for (const [key, name, words] of [["2", "Fabric", "? bgpd does not answer"], ["3", "Node", "underlay\n? unknown"], ["4", "VRF", "? bgpd does not answer"]]) {
    await page.keyboard.press(key);
    // The view is drawn with its tab.
    await page.locator("#views a[aria-current=page]", { hasText: name }).waitFor();
    const text = await page.locator("main").innerText();
    assert.match(await page.locator(".headline").innerText(), /^(✗ bgpd does not answer|\? not read)/);
    assert.ok(text.includes(words), text);
  }
  assert.equal(await page.locator("#views .ok").count(), 0);
  assert.deepEqual(problems, []);
  await close();
}

async function path() {
  const phone = { width: 390, height: 844 };
  for (const [url, name, scheme, size] of [[good, "good", "light"], [broken, "broken-light", "light"], [broken, "broken-dark", "dark"], [broken, "broken-phone", "light", phone]]) {
    const { page, problems, close } = await open(url, scheme, { view: "path", ready: ".query", ...size });
    await page.waitForSelector("#verdict:not(:empty)");
    await page.keyboard.press("/");
    await page.keyboard.type("172.30.0.10");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".path");
    const lines = await texts(page, ".path .headline");
    const expected = name === "good" ? [/^✓ complete$/, /^✓ complete$/] : [/^✗ stops at fabric: L2VPN EVPN is not negotiated with 192.168.11.2/, /^✗ stops at VRF$/];
    assert.equal(lines.length, expected.length);
    expected.forEach((words, at) => assert.match(lines[at], words));
    if (name === "broken-phone") await fits(page);
    if (name !== "good") {
      await seen(page, ".path .headline", /stops at fabric: L2VPN EVPN is not negotiated/);
      assert.match(await page.locator(".path .step.fail").first().innerText(), /✗ fabric[\s\S]*L2VPN EVPN/);
      await readable(page, scheme, [".path .headline", ".step.fail .word", ".step.ok .word", ".step p", ".chain .badge.ok", ".path h3 small"]);
    }
    await shot(page, `path-${name}`);
    // A mistake in a query is answered in the words of the command line.
    await page.locator("[name=from]").fill("1.2.3");
    await page.keyboard.press("Enter");
    await page.waitForSelector("text=invalid value '1.2.3' for from: invalid IP address syntax");
    await page.locator("[name=from]").fill("");
    await page.locator("#vrf").selectOption("blue");
    await page.waitForSelector("text=VRF blue not found; VRFs of this router: red");
    assert.deepEqual(problems, []);
    await close();
  }
}

/** Of a router that stays well there is the first read, and no difference. */
async function wellInChanges() {
  const { page, problems, close } = await open(good, "light", { view: "changes", ready: ".point" });
  assert.match(await page.locator(".headline").innerText(), /^✓ nothing changed since/);
  assert.equal(await page.locator(".change, main :is(.fail, .warning)").count(), 0);
  await shot(page, "changes-good");
  assert.deepEqual(problems, []);
  await close();
}

async function changes({ page, problems, close }) {
  await page.waitForSelector(".point >> nth=2", { timeout: 20_000 });
  const points = await texts(page, ".point");
  assert.match(points.at(-1), /first read/);
  assert.match(points.at(-2), /session blue 192.169.11.2[\s\S]*✓ established[\s\S]*✗ down/);
  assert.match(points[0], /session blue 192.169.11.2[\s\S]*✗ down[\s\S]*✓ established/);
  // Between the first and the last point the session is the same, the routes are not.
  const different = await texts(page, ".difference .change");
  assert.ok(!different.some((text) => text.includes("session blue")), different.join("\n"));
  assert.ok(different.some((text) => /VTEP|not-imported/.test(text)), different.join("\n"));
  await seen(page, ".difference .change", /✗ no route leads to VTEP 100.64.0.9/);
  await readable(page, "light", [".headline", ".change .name", ".badge.fail", ".badge.ok", ".point h3 small"]);
  await shot(page, "changes-broken-light");
  await page.locator("[name=to]").selectOption({ index: 1 });
  assert.ok((await texts(page, ".difference .change")).some((text) => /session blue[\s\S]*✗ down/.test(text)));
  await page.locator("[name=to]").selectOption({ index: 0 });
  assert.match(await page.locator(".headline").innerText(), /✓ the same at both points/);
  assert.deepEqual(problems, []);
  await close();
  // The changes are read again by a phone.
  await onPhone(changing, "changes", ".difference", /to the worse/);
}

try {
  // It changes every three seconds.
  const slow = await open(changing, "light", { view: "changes", ready: "#views" });
  {
    const { page, problems, close } = await open(good, "light");
    assert.equal(await page.locator("#verdict").innerText(), "nothing is wrong");
    assert.deepEqual(await texts(page, ".area .state"), Array(6).fill("✓ OK"));
    assert.deepEqual(await texts(page, ".nothing"), ["Nothing is wrong."]);
    assert.equal((await texts(page, "tbody tr")).length, 3);
    await shot(page, "checks-good");
    assert.deepEqual(problems, []);
    await close();
  }
  for (const scheme of ["light", "dark"]) {
    const { page, problems, close } = await open(broken, scheme);
    // The fault is seen without scrolling, and without colour.
    const first = page.locator(".finding").first();
    assert.match(await page.locator("#verdict").innerText(), /^\d+ problems, 1 warning$/);
    assert.match(await first.innerText(), /✗ FAIL/);
    assert.ok((await page.evaluate(() => document.querySelector(".finding").getBoundingClientRect().y)) < 500, "the first finding is on the first screen");
    assert.match(await page.title(), /^✗ pe-kind-a/);
    assert.deepEqual((await texts(page, ".area")).filter((text) => text.includes("✗ FAIL")).map((text) => text.split("\n")[0]), ["fabric", "host"]);
    await readable(page, scheme, ["#verdict", ".finding h3", ".finding .where", ".finding .mark", ".finding .evidence", ".area.fail .state", ".area.ok .state", ".area p", ".finding.warning .mark"]);
    await shot(page, `checks-broken-${scheme}`);
    assert.deepEqual(problems, []);
    await close();
  }
  {
    const { page, problems, close } = await open(broken, "light");
    const all = (await texts(page, ".finding")).length;
    await page.keyboard.press("b");
    const errors = await someTexts(page, ".finding");
    assert.ok(errors.length <= all && errors.every((text) => /✗ FAIL|! WARN/.test(text)), "b: only broken");
    assert.ok((await someTexts(page, "tbody .word")).every((word) => /^[✗!]/.test(word)));
    await page.keyboard.press("b");
    assert.equal((await texts(page, ".finding")).length, all);
    await page.keyboard.press("v");
    assert.equal(await page.locator("#vrf").inputValue(), "blue");
    assert.ok((await someTexts(page, "tbody tr")).every((text) => text.includes("blue")));
    await page.keyboard.press("v");
    assert.equal(await page.locator("#vrf").inputValue(), "red");
    await page.keyboard.press("v");
    assert.equal(await page.locator("#vrf").inputValue(), "");
    await page.keyboard.press("/");
    await page.keyboard.type("192.169.11.2");
    const found = await texts(page, ".finding");
    assert.ok(found.length > 0 && found.every((text) => text.includes("192.169.11.2")), found.join("\n"));
    await page.keyboard.press("Escape");
    assert.equal((await texts(page, ".finding")).length, all);
    assert.deepEqual(problems, []);
    await close();
  }
  {
    const { page, close } = await open(broken, "light", { width: 390, height: 844 });
    await fits(page);
    await seen(page, ".finding h3", /L2VPN EVPN is not negotiated with 192.168.11.2/);
    await shot(page, "checks-broken-phone");
    await close();
  }
  await fabric();
  await node();
  await vrf();
  await hostileText();
  await unread();
  await path();
  await allNodes({ open, texts, shot, readable, fits, hasSigns }, cluster, recovering);
  await wellInChanges();
  await changes(slow);
  assert.deepEqual(missing(), [], "screenshots that were not taken");
} finally {
  await browser.close();
}
