// Joins a live stream by LL-HLS again and again, where its segments have just begun, with hls.js and shaka: each must go on behind
// the first segment, and show all of its pictures.
//
//   node joins.mjs URL [--joins N]
//
// URL is a stream's folder. One join of each player may go wrong, as on a machine that is busy it may: what this is here for went wrong
// in one of three, begun like this.
// Without a URL it is run by tests/live/run, which gives one in GS_LIVE_URL.

import { open, read } from "./browser.mjs";

const options = read({ joins: 8, url: process.env.GS_LIVE_URL ?? "" });
if (!options.url) {
  console.error("usage: node joins.mjs URL [--joins N]");
  process.exit(2);
}
const stream = options.url.replace(/\/?$/, "/");
const text = async (uri) => {
  const answer = await fetch(new URL(uri, stream));
  if (!answer.ok) throw new Error(`${uri}: ${answer.status}`);
  return answer.text();
};

/** Waits until the stream's newest segment has three parts: players begin some 0.6 s behind its end. */
async function begun() {
  const pictures = (await text("playlist.m3u8")).split("\n").find((line) => line && !line.startsWith("#"));
  for (const until = Date.now() + 20000; Date.now() < until; ) {
    const lines = (await text(pictures)).split("\n");
    const newest = lines.slice(lines.findLastIndex((line) => line.endsWith(".m4s")) + 1);
    if ([3, 4].includes(newest.filter((line) => line.startsWith("#EXT-X-PART:")).length)) return;
    await new Promise((r) => setTimeout(r, 10));
  }
  throw new Error("no segment began in 20 s");
}

/** For how many seconds of the first four it stands still or shows no new picture; all of them where it plays nothing. */
async function join(page, player, rate) {
  await page.evaluate(([player, url]) => window.live.open(player, url), [player, `${stream}playlist.m3u8`]);
  let first = null;
  let state = {};
  for (let until = Date.now() + 10000; Date.now() < until; await new Promise((r) => setTimeout(r, 100))) {
    state = await page.evaluate(() => window.live.state());
    if (first || !state.start || state.frames < 6) continue;
    first = state;
    until = Date.now() + 4000;
  }
  const said = [...state.fatal, ...state.warnings].join("; ");
  if (!first || state.fatal.length) return { lost: 4, said };
  const unseen = state.time - first.time - (state.frames - first.frames) / rate;
  return { lost: Math.max(unseen, 0) + state.stalled, said };
}

const rate = Number(/FRAME-RATE=([\d.]+)/.exec(await text("playlist.m3u8"))[1]);
const browser = await open("joins");
let failed = false;
for (const player of ["hls", "shaka"]) {
  const lost = [];
  for (let n = 0; n < Number(options.joins); n++) {
    const page = await browser.context.newPage();
    await browser.load(page, player);
    await begun();
    // Anywhere in a part.
    await new Promise((r) => setTimeout(r, (n * 50) % 200));
    const seen = await join(page, player, rate);
    await page.close();
    lost.push(seen.lost);
    if (seen.lost > 0.7) console.log(`  join ${n}: ${seen.said}`);
  }
  const bad = lost.filter((seconds) => seconds > 0.7).length > 1;
  console.log(`${player}: lost ${lost.map((seconds) => seconds.toFixed(1)).join(", ")} s of the first four${bad ? ": FAILED" : ""}`);
  failed ||= bad;
}
await browser.close();
process.exit(failed ? 1 : 0);
