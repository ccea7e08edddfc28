// Joins a live stream with hls.js where its segments have just begun, again and again: it must go on behind the first one.
//
//   node joins.mjs URL [--joins N]
//
// URL is a stream's folder with LL-HLS in it. Of several joins one may stand still, as on a machine that is busy it may.
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
    const open = lines.slice(lines.findLastIndex((line) => line.endsWith(".m4s")) + 1);
    if (open.filter((line) => line.startsWith("#EXT-X-PART:")).length === 3) return;
    await new Promise((r) => setTimeout(r, 10));
  }
  throw new Error("no segment began in 20 s");
}

const browser = await open("joins");
const stood = [];
let failed = false;
try {
  for (let n = 0; n < Number(options.joins); n++) {
    const page = await browser.context.newPage();
    await browser.load(page, "hls");
    await begun();
    // Anywhere in a part.
    await new Promise((r) => setTimeout(r, (n * 50) % 200));
    await page.evaluate((url) => window.live.open("hls", url), `${stream}playlist.m3u8`);
    let state = {};
    for (const until = Date.now() + 4500; Date.now() < until; await new Promise((r) => setTimeout(r, 200))) {
      state = await page.evaluate(() => window.live.state());
    }
    await page.close();
    if (!state.start || state.fatal.length) throw new Error(`join ${n}: never played: ${JSON.stringify(state)}`);
    stood.push(state.stalled);
    if (state.stalled > 0.7) console.log(`  join ${n} stood still for ${state.stalled.toFixed(1)} s: ${state.warnings.join("; ")}`);
  }
  failed = stood.filter((seconds) => seconds > 0.7).length > 1;
} catch (error) {
  console.log(`  FAILED: ${error.message}`);
  failed = true;
}
await browser.close();
console.log(`joins: ${stood.length}, stood still for ${stood.map((seconds) => seconds.toFixed(1)).join(", ")} s${failed ? ": FAILED" : ""}`);
process.exit(failed ? 1 : 0);
