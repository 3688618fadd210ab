// The page of all nodes. In: what the other views share, and the addresses of two pages whose first read fails, of which the second has
// a node that recovers. Out: nothing, or what a person does not see.

import assert from "node:assert/strict";

export async function allNodes({ open, texts, shot, readable, fits, hasSigns }, url, recovering) {
  const { page, problems, close } = await open(url, "light", { view: "fabric", ready: "main .cause" });
  // A problem is on the page, not only beside it, before anything was read.
  assert.match(await page.locator("main").innerText(), /✗ a right is missing: bind a ClusterRole that may `list` `routernodestatuses`/);
  assert.match(await page.locator("#age").innerText(), /a right is missing.*nothing read yet/);
  await page.waitForSelector("[data-node]");
  await fabric({ page, texts, shot, readable, hasSigns });
  await checks({ page, texts });
  await node({ page, texts });
  await vrf({ page, texts });
  await path({ page });
  await changes({ open, texts }, recovering);
  assert.deepEqual(problems, []);
  await close();
  await onPhone({ open, fits }, url);
}

async function fabric({ page, texts, shot, readable, hasSigns }) {
  assert.equal(await page.locator("#node").innerText(), "5 nodes");
  const [second, third, fourth, first, fifth] = await texts(page, "[data-node]");
  assert.match(second, /! connected, 1 down[\s\S]*✗ worker-2[\s\S]*VTEP 100.65.0.2[\s\S]*✗ 2 of 4 sessions[\s\S]*enable the neighbor 192.169.11.1/);
  assert.match(third, /✗ no session[\s\S]*✗ worker-3[\s\S]*192.168.11.2 expects another AS number/);
  // What an old status says is not shown as the state of now.
  assert.match(fourth, /\? status 1h 10m old[\s\S]*\? worker-4[\s\S]*\? sessions[\s\S]*the controller does not write its status/);
  assert.match(first, /✓ connected[\s\S]*✓ worker-1[\s\S]*✓ 4 of 4 sessions[\s\S]*✓ its status has nothing wrong/);
  // Of a new node there is no condition and no object.
  assert.match(fifth, /\? not known[\s\S]*✓ worker-5[\s\S]*no VTEP/);
  await hasSigns(page, "[data-node] .edge:is(.fail, .warning, .unknown)");
  await readable(page, "light", [".edge.fail .label", ".edge.ok .label", ".edge.unknown .label", ".found .cause b", ".found .cause.ok", ".box small"]);
  await shot(page, "nodes-broken-light");
  await page.keyboard.press("b");
  assert.equal((await texts(page, "[data-node]")).length, 3);
  await page.keyboard.press("b");
  await page.keyboard.press("/");
  await page.keyboard.type("192.169.11.2");
  assert.deepEqual((await texts(page, "[data-node] .host b")), ["✗ worker-2"]);
  await page.keyboard.press("Escape");
}

async function checks({ page, texts }) {
  await page.keyboard.press("1");
  await page.waitForSelector(".areas.of-cluster");
  assert.deepEqual(await texts(page, ".area b"), ["router", "objects", "fabric", "host", "evpn"]);
  assert.match(await page.locator(".area").nth(2).innerText(), /✗ FAIL[\s\S]*2 of 4 nodes connected, 1 of 5 nodes not known/);
  const findings = await texts(page, ".finding");
  assert.ok(findings.some((text) => /node worker-3 · peer 192.168.11.2 · wrong-asn/.test(text)), findings.join("\n"));
  // What is by intent or of no effect now is apart from what is wrong.
  assert.match(await page.locator("main").innerText(), /By intent, or of no effect now[\s\S]*– info[\s\S]*perouter was not measured with FRR 10.6.0/);
  assert.match(await page.locator("#verdict").innerText(), /^7 problems$/);
  assert.equal((await texts(page, "tbody tr")).length, 5);
  await page.locator("#one-node").selectOption("worker-2");
  assert.ok((await texts(page, ".finding")).every((text) => text.includes("node worker-2")));
  // Of an old status nothing is a finding of now.
  await page.locator("#one-node").selectOption("worker-4");
  assert.deepEqual((await texts(page, ".finding h3")).map((text) => text.replace(/^✗ FAIL\s*/, "")), ["the controller does not write its status"]);
  await page.locator("#one-node").selectOption("");
  await page.locator("#one-node").evaluate((list) => list.blur());
  await page.keyboard.press("b");
  assert.equal((await texts(page, ".finding")).length, 7);
  assert.doesNotMatch(await page.locator("main").innerText(), /– info/);
  await page.keyboard.press("b");
}

async function node({ page, texts }) {
  await page.keyboard.press("3");
  await page.waitForSelector(".hops.of-node");
  assert.match(await page.locator(".headline").innerText(), /✗ worker-2: /);
  await page.locator("#one-node").focus();
  await page.locator("#one-node").selectOption("worker-3");
  await page.waitForSelector("text=✗ worker-3: ");
  assert.match(await page.locator("main").innerText(), /NotUp[\s\S]*bgpd does not know it[\s\S]*kubectl perouter check --node worker-3/);
  await page.locator("#one-node").evaluate((list) => list.blur());
  await page.keyboard.press("n");
  await page.waitForSelector("text=worker-4: the controller does not write its status");
  assert.deepEqual(await texts(page, ".hop:first-child b"), ["status 1h 10m old"]);
  await page.keyboard.press("n");
  await page.waitForSelector("text=✓ worker-5: its status has nothing wrong");
  assert.match(await page.locator("main").innerText(), /0 of 0 in place[\s\S]*no object is for this node[\s\S]*kubectl perouter check --node worker-5/);
  await page.locator("#one-node").selectOption("");
}

async function vrf({ page, texts }) {
  await page.keyboard.press("4");
  await page.waitForSelector("text=VRF or segment");
  const rows = await texts(page, "tbody tr");
  const of = (name) => rows.find((text) => new RegExp(`^\\S ${name}\\b`).test(text));
  assert.match(of("storage"), /✓ storage L2VNI VNI 110[\s\S]*✓ 2 of 2 nodes[\s\S]*✓ ready, 3 MAC[\s\S]*–[\s\S]*–[\s\S]*✓ ready, 12 MAC/);
  assert.match(of("blue"), /✗ blue[\s\S]*✗ 1 of 3 nodes[\s\S]*✗ 1 session down[\s\S]*✗ NotUp/);
  // A segment is beside the VRF in which it is routed; a session of the VRF is not its own.
  assert.match(of("apps"), /✓ apps L2VNI VNI 120 in blue[\s\S]*✓ 1 of 1 node\b/);
  assert.match(of("red"), /✗ PoolTooSmall[\s\S]*\? was ready/);
  await page.locator("#vrf").selectOption("blue");
  assert.equal((await texts(page, "tbody tr")).length, 2);
  await page.locator("#vrf").selectOption("red");
  assert.equal((await texts(page, "tbody tr")).length, 1);
  assert.match(await page.locator("main").innerText(), /kubectl perouter routes red --node worker-2/);
  await page.locator("#vrf").selectOption("");
}

async function path({ page }) {
  await page.keyboard.press("5");
  await page.waitForSelector(".query");
  await page.keyboard.press("/");
  await page.keyboard.type("172.30.0.10");
  await page.locator("#one-node").selectOption("worker-1");
  await page.locator("#vrf").selectOption("red");
  assert.match(await page.locator("main").innerText(), /kubectl perouter trace 172.30.0.10 --vrf red --node worker-1/);
  await page.locator("#vrf").selectOption("");
  await page.locator("#one-node").selectOption("");
  await page.locator("#one-node").evaluate((list) => list.blur());
}

async function changes({ open, texts }, url) {
  const { page, problems, close } = await open(url, "light", { view: "changes", ready: ".point" });
  await page.waitForSelector(".point >> nth=2");
  const shown = (await texts(page, ".point")).join("\n");
  assert.match(shown, /worker-3 state[\s\S]*✗ not connected to the fabric, 2 of 3 sessions[\s\S]*✓ connected to the fabric, 4 of 4 sessions/);
  assert.match(shown, /worker-3 wrong-asn 192.168.11.2[\s\S]*✓ no longer found/);
  assert.deepEqual(problems, []);
  await close();
}

async function onPhone({ open, fits }, url) {
  for (const [view, ready] of [["", ".areas"], ["fabric", "[data-node]"], ["node", ".hops"], ["vrf", "tbody tr"]]) {
    const { page, problems, close } = await open(url, "dark", { view, ready, width: 390, height: 844 });
    await fits(page);
    assert.deepEqual(problems, []);
    await close();
  }
}
