// The page of live streams in headless Chromium, at the size of a desk and of a phone: FFmpeg publishes one stream by RTMP
// with its time in the picture; the page lists it with a thumbnail and plays it by LL-HLS, LL-DASH and WHEP, and the latency
// that it shows is held against the one that the picture itself tells. Then the page publishes fake devices by WHIP, and
// where there are keys it needs them. Screenshots go to $GS_LIVE_WORK.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as strip from "./strip.mjs";

const { GS_NODE_MODULES, GS_CHROMIUM, GS_LIVE_HTTP, GS_LIVE_RTMP, GS_LIVE_WORK, GS_CLI } = process.env;
if (!GS_NODE_MODULES || !GS_CHROMIUM || !GS_LIVE_HTTP) {
  console.log("live/page: SKIPPED: GS_NODE_MODULES, GS_CHROMIUM and GS_LIVE_HTTP are wanted (tests/live/run)");
  process.exit(process.env.GS_REQUIRE_PEERS === "1" ? 1 : 77);
}
const { chromium } = createRequire(join(GS_NODE_MODULES, "x.js"))("playwright-core");
mkdirSync(GS_LIVE_WORK, { recursive: true });
const sleep = ms => new Promise(done => setTimeout(done, ms));
const children = [];
let failed = 0;
const check = (what, good, more = "") => {
  if (!good) failed++;
  console.log(`    ${good ? "ok    " : "FAILED"} ${what}${more === "" ? "" : ` (${more})`}`);
};

/** Publishes until the end; FFmpeg's words go to a log. */
function publish(url) {
  const child = strip.publish(url, openSync(join(GS_LIVE_WORK, "publisher.log"), "a"));
  children.push(child);
  return child;
}

const median = all => [...all].sort((a, b) => a - b)[all.length >> 1];

/** What the page shows and what the picture says, over some seconds of play. */
async function latencies(page, seconds) {
  const shown = [], true_ = [];
  for (let i = 0; i < seconds * 4; i++) {
    await sleep(250);
    const [said, real] = [await page.locator("#latency").getAttribute("value"), await page.evaluate(strip.age, strip.STRIP)];
    if (said !== "" && real !== null) {
      shown.push(Number(said));
      true_.push(real);
    }
  }
  return shown.length > seconds ? { shown: median(shown), true_: median(true_) } : null;
}

async function newPage(browser, base, viewport) {
  const context = await browser.newContext({ viewport, hasTouch: viewport.width < 500, permissions: ["camera", "microphone"] });
  const page = await context.newPage();
  const wrong = [];
  page.on("request", request => {
    if (!request.url().startsWith(base) && !/^(data|blob):/.test(request.url())) wrong.push(`foreign: ${request.url()}`);
  });
  page.on("pageerror", error => wrong.push(String(error)));
  page.on("console", message => { if (/Content Security Policy/.test(message.text())) wrong.push(message.text()); });
  return { context, page, wrong };
}

const card = (page, name) => page.locator("button.card", { has: page.locator("strong", { hasText: name }) });
const plays = page => page.waitForFunction(() => {
  const video = document.getElementById("video");
  return video.readyState > 2 && video.getVideoPlaybackQuality().totalVideoFrames > 10;
}, undefined, { timeout: 30000 });

async function desk(browser) {
  const { context, page, wrong } = await newPage(browser, GS_LIVE_HTTP, { width: 1280, height: 1000 });
  await page.goto(`${GS_LIVE_HTTP}/`);
  await page.getByRole("link", { name: "Live" }).click();
  await card(page, "live/clock").waitFor({ timeout: 30000 });
  await page.waitForFunction(() => [...document.querySelectorAll(".frame img")].some(i => i.naturalWidth === 320), undefined, { timeout: 30000 });
  check("the stream is listed with its thumbnail", true);
  await card(page, "live/clock").filter({ hasText: /RTMP · .*bit\/s · for / }).waitFor({ timeout: 10000 });
  const facts = await card(page, "live/clock").innerText();
  check("with what it is", /H\.264 640×360/.test(facts) && /AAC 48 kHz/.test(facts), facts.replace(/\s+/g, " "));

  // By keyboard alone: past the skip link to the card.
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  for (let i = 0; i < 10 && !(await card(page, "live/clock").evaluate(e => e === document.activeElement)); i++) {
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  const said = {};
  // What is true of the picture has FFmpeg's part in it too.
  for (const [by, label, least, most] of [["hls", "LL-HLS", 0.1, 6], ["dash", "LL-DASH", 0.1, 8], ["whep", "WHEP", 0, 2]]) {
    if (by !== "hls") {
      await page.locator(`input[value=${by}]`).focus();
      await page.keyboard.press("Space");
    }
    try {
      await plays(page);
    } catch {
      check(`${label}: it plays`, false, await page.textContent("#message"));
      continue;
    }
    // It comes nearer to the edge first.
    await sleep(6000);
    const seen = await latencies(page, 4);
    said[by] = seen;
    const numbers = seen && `shown ${seen.shown.toFixed(2)} s, by the picture ${seen.true_.toFixed(2)} s`;
    check(`${label}: the latency is in its bounds`, seen && seen.shown > least && seen.shown < most, numbers ?? "none is shown");
    check(`${label}: and true`, seen && seen.true_ - seen.shown > -0.2 && seen.true_ - seen.shown < 0.8, numbers ?? "");
    const meaning = await page.textContent("#meaning");
    check(`${label}: it says what it is`, /since it came to the server|half the round trip/.test(meaning), meaning);
    await page.screenshot({ path: join(GS_LIVE_WORK, `${by}.png`) });
  }
  writeFileSync(join(GS_LIVE_WORK, "latency.json"), JSON.stringify(said));
  await page.getByText("Who publishes and watches").click();
  const who = () => page.locator("#sessions li").allInnerTexts();
  await page.waitForFunction(() => document.querySelectorAll("#sessions li").length > 1, undefined, { timeout: 20000 })
    .then(() => {}, () => {});
  const lines = await who();
  const here = /· 127\.0\.0\.1:\d+ · for .* in, .* out/;
  check("who publishes is told", lines.some(l => l.startsWith("RTMP · publishes") && here.test(l)), lines.join(" | "));
  check("and who watches", lines.length === 2 && lines.some(l => l.startsWith("WHEP · watches")), lines.join(" | "));
  await page.screenshot({ path: join(GS_LIVE_WORK, "sessions.png"), fullPage: true });
  await page.waitForFunction(() => /· 1 viewer(?!s)/.test(document.querySelector("#streams").textContent), undefined, { timeout: 20000 })
    .then(() => check("the viewer is counted", true))
    .catch(async () => check("the viewer is counted", false, await page.evaluate(async () =>
      `${document.querySelector("#streams").textContent} of ${JSON.stringify((await (await fetch("/live/streams")).json()).streams.map(s => s.viewers))}`)));
  await page.getByRole("button", { name: "Close" }).click();
  check("closed, it gives the focus back", await card(page, "live/clock").evaluate(e => e === document.activeElement));

  // Publishing.
  await page.fill("#name", "live/from-page");
  await page.selectOption("#source", "camera");
  await page.getByRole("button", { name: "Publish" }).click();
  const mine = card(page, "live/from-page");
  try {
    await mine.waitFor({ timeout: 30000 });
    await page.waitForFunction(() => {
      const mine = [...document.querySelectorAll("button.card")].find(c => c.textContent.includes("live/from-page"));
      return mine && /WHIP/.test(mine.textContent) && /×/.test(mine.textContent) && mine.querySelector("img")?.naturalWidth === 320;
    }, undefined, { timeout: 30000 });
    await page.waitForFunction(() => /Mbit\/s/.test(document.querySelector("#said").textContent), undefined, { timeout: 10000 });
    check("the page publishes its camera", true, (await mine.innerText()).replace(/\s+/g, " "));
  } catch (error) {
    check("the page publishes its camera", false, `${await page.textContent("#trouble")} ${error}`);
  }
  await mine.click();
  await plays(page).then(() => check("and watches it", true), async () => check("and watches it", false, await page.textContent("#message")));
  await page.screenshot({ path: join(GS_LIVE_WORK, "publish.png"), fullPage: true });
  await page.getByRole("button", { name: "Stop" }).click();
  await mine.waitFor({ state: "detached", timeout: 20000 });
  check("stopped, it is gone", true);
  const unnamed = await page.evaluate(() => [...document.querySelectorAll("input, select, button")]
    .filter(e => !e.labels?.length && !e.textContent.trim() && !e.getAttribute("aria-label")).length);
  check("every control has a name", unnamed === 0, String(unnamed));
  check("nothing comes from elsewhere, nothing is wrong in the page", wrong.length === 0, wrong.join(" "));
  await context.close();
}

async function phone(browser) {
  const { context, page, wrong } = await newPage(browser, GS_LIVE_HTTP, { width: 390, height: 800 });
  await page.goto(`${GS_LIVE_HTTP}/live?stream=live/clock&by=whep`);
  await plays(page);
  await page.waitForFunction(() => document.querySelector("#latency").value !== "", undefined, { timeout: 20000 });
  check("phone: an address plays at once", true);
  const room = () => /room for [0-9.]+ [Mk]bit/.test(document.querySelector("#now").textContent);
  const told = await page.waitForFunction(room, undefined, { timeout: 20000 }).then(() => true, () => false);
  check("phone: what the server knows of the way is told", told, await page.textContent("#now"));
  check("phone: it fits", !(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)));
  await page.screenshot({ path: join(GS_LIVE_WORK, "phone.png"), fullPage: true });
  check("phone: nothing is wrong", wrong.length === 0, wrong.join(" "));
  await context.close();
}

/** A server of its own that wants keys. */
async function keyed(browser) {
  const [home, log] = [join(GS_LIVE_WORK, "keyed"), join(GS_LIVE_WORK, "keyed.log")];
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "ghoststream.yaml"), JSON.stringify({
    server: { host: "127.0.0.1", port: 0 }, mdns: { enabled: false, udp_enabled: false },
    transcoding: { temp_directory: join(home, "jobs") }, hardware: { prefer_hw_accel: false },
    security: { state_directory: join(home, "state") },
    live: { rtmp_port: 0, webrtc_port: 0, publish_key: "inside", read_key: "out side" },
  }));
  const out = openSync(log, "w");
  const server = spawn(GS_CLI, ["serve", "--live", "--config", join(home, "ghoststream.yaml")], { stdio: ["ignore", out, out] });
  children.push(server);
  const where = scheme => readFileSync(log, "utf8").match(new RegExp(`listening on (${scheme}://[0-9.:]+)`))?.[1];
  for (let i = 0; i < 200 && !(where("http") && where("rtmp")); i++) await sleep(100);
  const base = where("http");
  const publisher = publish(`${where("rtmp")}/live/clock?key=inside`);
  const { context, page, wrong } = await newPage(browser, base, { width: 1000, height: 800 });
  await page.goto(`${base}/live`);
  await page.waitForFunction(() => document.querySelector("#health").textContent.includes("key is missing"));
  check("keys: without one there is no list", (await page.locator("button.card").count()) === 0);
  await page.fill("#key", "out side");
  await page.getByRole("button", { name: "Use" }).click();
  await card(page, "live/clock").waitFor({ timeout: 30000 });
  await page.waitForFunction(() => [...document.querySelectorAll(".frame img")].some(i => i.naturalWidth === 320), undefined, { timeout: 30000 });
  await page.waitForFunction(() => !document.querySelector("#addresses") || document.querySelectorAll("button.card").length === 1);
  // Until it can be played.
  await page.waitForFunction(async () => (await (await fetch("/live/streams?key=out%20side")).json()).streams[0]?.dash, undefined, { timeout: 30000, polling: 500 });
  await card(page, "live/clock").click();
  for (const [by, label] of [["hls", "LL-HLS"], ["dash", "LL-DASH"], ["whep", "WHEP"]]) {
    if (by !== "hls") await page.locator(`input[value=${by}]`).check();
    await plays(page).then(() => check(`keys: ${label} plays with it`, true), async () => check(`keys: ${label} plays with it`, false, await page.textContent("#message")));
  }
  await page.fill("#name", "live/page");
  await page.fill("#publish-key", "wrong");
  await page.getByRole("button", { name: "Publish" }).click();
  await page.waitForFunction(() => /key/.test(document.querySelector("#trouble").textContent), undefined, { timeout: 20000 });
  await page.fill("#publish-key", "inside");
  await page.getByRole("button", { name: "Publish" }).click();
  await card(page, "live/page").waitFor({ timeout: 30000 });
  check("keys: publishing needs one", true);
  check("keys: nothing is wrong", wrong.length === 0, wrong.join(" "));
  await context.close();
  publisher.kill();
  server.kill("SIGTERM");
}

const browser = await chromium.launch({
  executablePath: GS_CHROMIUM,
  args: [
    "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required", "--mute-audio",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--allow-loopback-in-peer-connection",
  ],
});
try {
  const publisher = publish(`${GS_LIVE_RTMP}/live/clock`);
  await desk(browser);
  await phone(browser);
  publisher.kill();
  await keyed(browser);
} catch (error) {
  failed++;
  console.log(`    FAILED ${error.stack ?? error}`);
} finally {
  await browser.close();
  children.forEach(child => child.kill());
}
process.exit(failed ? 1 : 0);
