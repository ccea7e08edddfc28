// The built-in page in headless Chromium, at the size of a phone and of a desk: a source is typed, the ladder plays, a seek
// to 80 % goes on playing, the keyboard reaches everything, and nothing is asked for from elsewhere.
//
//   node page.mjs URL CLIP SHOTS

import { createRequire } from "node:module";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.GS_NODE_MODULES, "x.js"))("playwright-core");
const [url, clip, shots] = process.argv.slice(2);
mkdirSync(shots, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.GS_CHROMIUM,
  args: ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"],
});
let failed = 0;
const check = (what, good, more = "") => {
  if (!good) failed++;
  console.log(`    ${good ? "ok    " : "FAILED"} ${what} ${good ? "" : more}`);
};

async function visit(name, viewport, mode) {
  const context = await browser.newContext({ viewport, hasTouch: viewport.width < 500 });
  const page = await context.newPage();
  const foreign = [], errors = [];
  page.on("request", request => {
    if (!request.url().startsWith(url) && !/^(data|blob|ws):/.test(request.url())) foreign.push(request.url());
  });
  page.on("pageerror", error => errors.push(String(error)));
  page.on("console", message => { if (/Content Security Policy/.test(message.text())) errors.push(message.text()); });
  await page.goto(url);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  check(`${name}: it fits`, !wide);

  // By keyboard alone: the first stop skips to the source.
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.type(clip);
  check(`${name}: the keyboard reaches the source`, (await page.inputValue("#source")) === clip);
  await page.selectOption("#mode", mode);
  await page.focus("#source");
  await page.keyboard.press("Enter");

  const clock = () => page.evaluate(() => document.querySelector("video").currentTime);
  const plays = async beyond => {
    for (let i = 0; i < 300; i++) {
      if ((await clock()) > beyond) return true;
      await page.waitForTimeout(100);
    }
    return false;
  };
  const started = await plays(0.7);
  const message = await page.textContent("#message");
  check(`${name}: it plays`, started, message);
  // On demand the whole length is known at once; while it grows it is waited for.
  let duration = 0;
  for (let i = 0; i < 300 && !(duration > 11); i++) {
    duration = await page.evaluate(() => { const d = document.querySelector("video").duration; return Number.isFinite(d) ? d : 0; });
    await page.waitForTimeout(100);
  }
  check(`${name}: its length is known`, Math.abs(duration - 12) < 1, String(duration));
  const target = duration * 0.8;
  await page.evaluate(t => { document.querySelector("video").currentTime = t; }, target);
  check(`${name}: it plays after a seek to 80 %`, await plays(target + 0.4), String(await clock()));
  const lit = await page.evaluate(() => {
    const video = document.querySelector("video");
    const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 36 });
    const pen = canvas.getContext("2d");
    pen.drawImage(video, 0, 0, 64, 36);
    return new Set(pen.getImageData(0, 0, 64, 36).data).size;
  });
  check(`${name}: there is a picture`, lit > 16, String(lit));
  check(`${name}: qualities are offered`, (await page.locator("#level option").count()) >= 2);
  check(`${name}: the job is listed`, (await page.locator("#jobs li").first().textContent()).includes(clip));
  await page.waitForFunction(() => document.querySelectorAll("#load dt").length > 3, undefined, { timeout: 10000 });
  check(`${name}: hardware and log are shown`,
    (await page.textContent("#hardware")).includes("software") && (await page.textContent("#log")).length > 20);
  const names = await page.evaluate(() => [...document.querySelectorAll("input, select, button, video")]
    .filter(e => !e.labels?.length && !e.textContent.trim() && !e.getAttribute("aria-label") && e.tagName !== "VIDEO").length);
  check(`${name}: every control has a name`, names === 0, String(names));
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
  check(`${name}: nothing comes from elsewhere`, foreign.length === 0, foreign.join(" "));
  check(`${name}: no error in the page`, errors.length === 0, errors.join(" "));
  await page.locator("#jobs li").first().getByRole("button", { name: "Delete" }).click();
  await page.waitForFunction(() => document.querySelector("#no-jobs").hidden === false || document.querySelectorAll("#jobs li").length >= 0);
  await context.close();
}

try {
  await visit("desk", { width: 1280, height: 900 }, "abr");
  await visit("phone", { width: 390, height: 800 }, "stream");
} catch (error) {
  failed++;
  console.log(`    FAILED ${error}`);
}
await browser.close();
process.exit(failed ? 1 : 0);
