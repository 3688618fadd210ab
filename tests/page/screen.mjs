// What a person sees of a page: texts, whether they are on the first screen and readable, and screenshots. In: a page of Chromium. Out:
// nothing, or what a person does not see.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { smaller } from "./png.mjs";

export const texts = (page, selector) => page.locator(selector).allInnerTexts();

/** The texts of elements of which there is at least one: of none, everything would be true. */
export async function someTexts(page, selector) {
  const found = await texts(page, selector);
  assert.ok(found.length > 0, `no ${selector}`);
  return found;
}

const VIEWS = ["checks", "fabric", "node", "vrf", "path", "changes"];

/** The screenshots that the book has: each view of a good and of a broken router; some of them in the dark and on a phone. */
const KEPT = new Set([
  ...VIEWS.flatMap((view) => [`${view}-good`, `${view}-broken-light`]),
  ...["checks", "fabric", "node", "path"].map((view) => `${view}-broken-dark`),
  ...["checks", "fabric", "node", "path"].map((view) => `${view}-broken-phone`),
  "vrf-broken-targets-light",
  "nodes-broken-light",
]);
const taken = new Set();

/** Writes the screenshots that are kept to a folder. */
export const shotsIn = (folder) => async (page, name) => {
  if (!KEPT.has(name)) return;
  taken.add(name);
  const width = page.viewportSize().width;
  const end = await page.evaluate(() => document.querySelector("main").getBoundingClientRect().bottom + scrollY + 24);
  const clip = { x: 0, y: 0, width, height: Math.min(Math.ceil(end), width > 400 ? 1000 : 844) };
  await writeFile(join(folder, `${name}.png`), smaller(await page.screenshot({ fullPage: true, clip })));
};

/** Screenshots that were not taken. */
export const missing = () => [...KEPT].filter((name) => !taken.has(name));

/** What names the fault is seen on the first screen: nobody has to scroll. The element is found and measured at once: a new read replaces it. */
export async function seen(page, selector, words) {
  const boxOf = ({ wanted, source }) => {
    const found = [...document.querySelectorAll(wanted)].find((element) => new RegExp(source).test(element.innerText));
    if (!found) return null;
    const { y, height } = found.getBoundingClientRect();
    return { y, height };
  };
  const handle = await page.waitForFunction(boxOf, { wanted: selector, source: words.source }, { timeout: 10_000 });
  const { y, height } = await handle.jsonValue();
  const screen = page.viewportSize().height;
  assert.ok(y >= 0 && y + height <= screen, `${selector} with ${words} is at ${y} to ${y + height} of a screen of ${screen}`);
}

/** The contrast of two colours as WCAG 2 has it. The element is found and measured at once: a new read replaces it. */
async function contrast(page, selector) {
  await page.waitForSelector(selector);
  return page.evaluate((wanted) => {
    const rgb = (color) => color.match(/[\d.]+/g).map(Number);
    const light = (color) => {
      const [r, g, b] = rgb(color).map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = document.querySelector(wanted);
    let back = found;
    while (back && rgb(getComputedStyle(back).backgroundColor)[3] === 0) back = back.parentElement;
    const [a, b] = [light(getComputedStyle(found).color), light(getComputedStyle(back).backgroundColor)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }, selector);
}

/** The page is no wider than a phone. */
export async function fits(page) {
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, `the page is ${width} wide on a phone`);
}

/** What is marked as a fault is read without colour: each has a sign. */
export async function hasSigns(page, selector) {
  for (const text of await someTexts(page, selector)) assert.match(text, /[✗!?]/, text);
}

export async function readable(page, scheme, selectors) {
  for (const selector of selectors) {
    const ratio = await contrast(page, selector);
    assert.ok(ratio >= 4.5, `${scheme}: ${selector} has a contrast of ${ratio.toFixed(2)}`);
  }
}
