// Plays a live stream in headless Chromium with hls.js, dash.js and shaka, and measures how far behind its source's clock.
//
//   node players.mjs URL [--seconds N] [--still N] [--only NAME] [--shots DIRECTORY] [--json 1] [--strip 1] [--hls FILE] [--dash FILE]
//
// URL is a stream's folder, such as http://127.0.0.1:8080/streams/live/one/. Each player must show pictures of the stream's
// size, decode sound, go on for as long as it is watched and report no fatal error; every answer must be one that
// the player could use. Latency and stalls are printed; only what no live player should show fails: for long, or for longer than
// --still seconds in all, it may not stand still.
// --strip 1: the stream is one of strip.mjs, and what its pictures say of their age is in `aged` of the JSON (median, 95 %).
// Without a URL it is run by tests/live/run, which gives one in GS_LIVE_URL.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { open, read } from "./browser.mjs";
import { STRIP, age } from "./strip.mjs";

const options = read({
  seconds: 12, only: "", still: "", shots: "", json: "", strip: "", url: process.env.GS_LIVE_URL ?? "", hls: "playlist.m3u8", dash: "manifest.mpd",
});
if (!options.url) {
  console.error("usage: node players.mjs URL [--seconds N] [--still N] [--only NAME] [--shots DIRECTORY] [--json 1] [--strip 1] [--hls FILE] [--dash FILE]");
  process.exit(2);
}
const stream = options.url.replace(/\/?$/, "/");

const CASES = [
  { name: "hls.js", player: "hls", manifest: options.hls },
  { name: "shaka-hls", player: "shaka", manifest: options.hls },
  { name: "dash.js", player: "dash", manifest: options.dash },
  { name: "shaka-dash", player: "shaka", manifest: options.dash },
];
async function watch(test) {
  const page = await browser.context.newPage();
  const refused = [];
  const thrown = [];
  const ages = [];
  let requests = 0;
  page.on("pageerror", (error) => thrown.push(String(error)));
  page.on("response", (response) => {
    if (!response.url().startsWith(stream)) return;
    requests++;
    if (response.status() >= 400) refused.push(`${response.url().slice(stream.length)} (${response.status()})`);
  });
  const problems = [];
  let state = {};
  try {
    await browser.load(page, test.player);
    const asked = Date.now();
    await page.evaluate(([player, url]) => window.live.open(player, url), [test.player, stream + test.manifest]);
    let start = 0;
    for (;;) {
      state = await page.evaluate(() => window.live.state());
      if (state.fatal.length) break;
      if (state.start && !start) start = Date.now();
      if (start && Date.now() - start > options.seconds * 1000) break;
      if (!start && Date.now() - asked > 20000) break;
      // A player has its place after some seconds.
      if (options.strip && start && Date.now() - start > 10000) ages.push(await page.evaluate(age, STRIP));
      await new Promise((r) => setTimeout(r, 200));
    }
    const aged = ages.filter((one) => one !== null).sort((a, b) => a - b);
    if (options.strip) state.aged = [0.5, 0.95].map((share) => aged[Math.floor(aged.length * share)] ?? null);
    state.startup = start ? (start - asked) / 1000 : null;
    if (options.shots) await page.screenshot({ path: join(options.shots, `${test.name}.png`) });
    if (!start) problems.push("never played");
    problems.push(...state.fatal.map((e) => `fatal: ${e}`), ...thrown);
    if (start && state.stalled > Number(options.still || options.seconds / 4)) problems.push(`stood still for ${state.stalled.toFixed(1)} s`);
    if (start && !(state.latency < 8)) problems.push(`${state.latency} s behind`);
    if (start && !state.sound) problems.push("no sound was decoded");
    if (start && !state.width) problems.push("no picture");
    if (refused.length > 2) problems.push(`refused: ${refused.slice(0, 5).join(", ")} … ${refused.length}`);
  } catch (error) {
    problems.push(String(error));
  }
  await page.close();
  return { ...test, ...state, requests, refused, problems };
}

if (options.shots) mkdirSync(options.shots, { recursive: true });
const browser = await open("players");
let failed = false;
console.log("player       latency  startup  stalls  stood  frames  requests  refused");
for (const test of CASES.filter((c) => !options.only || c.name === options.only)) {
  const seen = await watch(test);
  const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "-");
  console.log(
    seen.name.padEnd(12), number(seen.latency, 2).padStart(7), number(seen.startup, 2).padStart(8),
    String(seen.stalls ?? "-").padStart(7), number(seen.stalled, 1).padStart(6), String(seen.frames ?? "-").padStart(7),
    String(seen.requests).padStart(9), String(seen.refused.length).padStart(8),
  );
  for (const warning of new Set(seen.warnings ?? [])) console.log(`  (${warning})`);
  for (const uri of seen.refused.slice(0, 3)) console.log(`  (${uri})`);
  for (const problem of seen.problems) console.log(`  FAILED: ${problem}`);
  if (options.json) console.log(JSON.stringify(seen));
  failed ||= seen.problems.length > 0;
}
await browser.close();
process.exit(failed ? 1 : 0);
