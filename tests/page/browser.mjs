// The page in Chromium. In: paths of playwright-core and Chromium, the addresses of a good and a broken router, and where screenshots
// go. Out: exit status 0 if a person sees what is wrong; else what they do not see.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const [playwright, chromium, good, broken, folder] = process.argv.slice(2);
const { chromium: engine } = createRequire(import.meta.url)(playwright);
// Chromium has no sandbox of its own as root.
const browser = await engine.launch({ executablePath: chromium, args: ["--no-sandbox"] });

async function open(url, colorScheme, width = 1200, height = 860) {
  const context = await browser.newContext({ colorScheme, viewport: { width, height } });
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) problems.push(`a request to ${request.url()}`);
  });
  await page.goto(url);
  await page.waitForSelector(".area");
  return { page, problems, close: () => context.close() };
}

const texts = (page, selector) => page.locator(selector).allInnerTexts();
const shot = (page, name) => page.screenshot({ path: join(folder, name) });

/** The contrast of two colours as WCAG 2 has it. */
const contrast = (page, selector) =>
  page.locator(selector).first().evaluate((found) => {
    const rgb = (color) => color.match(/[\d.]+/g).map(Number);
    const light = (color) => {
      const [r, g, b] = rgb(color).map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let back = found;
    while (back && rgb(getComputedStyle(back).backgroundColor)[3] === 0) back = back.parentElement;
    const [a, b] = [light(getComputedStyle(found).color), light(getComputedStyle(back).backgroundColor)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });

try {
  {
    const { page, problems, close } = await open(good, "light");
    assert.equal(await page.locator("#verdict").innerText(), "nothing is wrong");
    assert.deepEqual(await texts(page, ".area .state"), Array(6).fill("✓ OK"));
    assert.deepEqual(await texts(page, ".nothing"), ["Nothing is wrong."]);
    assert.equal((await texts(page, "tbody tr")).length, 3);
    await shot(page, "checks-good.png");
    assert.deepEqual(problems, []);
    await close();
  }
  for (const scheme of ["light", "dark"]) {
    const { page, problems, close } = await open(broken, scheme);
    // The fault is seen without scrolling, and without colour.
    const first = page.locator(".finding").first();
    assert.match(await page.locator("#verdict").innerText(), /^\d+ problems, 1 warning$/);
    assert.match(await first.innerText(), /✗ FAIL/);
    assert.ok((await first.boundingBox()).y < 500, "the first finding is on the first screen");
    assert.match(await page.title(), /^✗ pe-kind-a/);
    assert.deepEqual((await texts(page, ".area")).filter((text) => text.includes("✗ FAIL")).map((text) => text.split("\n")[0]), ["fabric", "host"]);
    for (const selector of ["#verdict", ".finding h3", ".finding .where", ".finding .mark", ".finding .evidence", ".area.fail .state", ".area.ok .state", ".area p", ".finding.warning .mark"]) {
      const ratio = await contrast(page, selector);
      assert.ok(ratio >= 4.5, `${scheme}: ${selector} has a contrast of ${ratio.toFixed(2)}`);
    }
    await shot(page, `checks-broken-${scheme}.png`);
    assert.deepEqual(problems, []);
    await close();
  }
  {
    const { page, problems, close } = await open(broken, "light");
    const all = (await texts(page, ".finding")).length;
    // What a peer supplies stays text.
    assert.ok((await page.locator("main").innerText()).includes("<img src=x onerror=alert(1)>"));
    assert.equal(await page.locator("main img").count(), 0);
    await page.keyboard.press("b");
    const errors = await texts(page, ".finding");
    assert.ok(errors.length < all && errors.every((text) => text.includes("✗ FAIL")), "b: only broken");
    assert.ok((await texts(page, "tbody .word")).every((word) => word.startsWith("✗")));
    await page.keyboard.press("b");
    assert.equal((await texts(page, ".finding")).length, all);
    await page.keyboard.press("v");
    assert.equal(await page.locator("#vrf").inputValue(), "blue");
    assert.ok((await texts(page, "tbody tr")).every((text) => text.includes("blue")));
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
    const { page, close } = await open(broken, "light", 390, 844);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 390, `the page is ${width} wide on a phone`);
    await shot(page, "checks-broken-phone.png");
    await close();
  }
} finally {
  await browser.close();
}
