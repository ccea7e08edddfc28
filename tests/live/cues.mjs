// Plays a live stream with text in headless Chromium with hls.js, dash.js and shaka, and holds the text against the pictures.
//
//   node cues.mjs URL [--seconds N] [--only NAME,NAME…]
//
// URL is a stream's folder. Its pictures are bright while a text is to be shown and dark while none is, so that whoever looks at both
// sees whether the text is there, and at its time. tests/live/tracks.py runs it.

import { open, read } from "./browser.mjs";

const options = read({ seconds: 14, only: "", url: "" });
const stream = options.url.replace(/\/?$/, "/");
// The renditions that each may ask for.
const CASES = [
  { name: "dash.js", player: "dash", manifest: "manifest.mpd", rendition: "w0_" },
  // It fetches text a whole segment at a time: what is shown first in a segment comes late by what the segment is longer than it is
  // behind.
  { name: "shaka-dash", player: "shaka", manifest: "manifest.mpd", rendition: "w0_", least: 0.9 },
  { name: "hls.js", player: "hls", manifest: "playlist.m3u8", rendition: "s0_" },
  { name: "shaka-hls", player: "shaka", manifest: "playlist.m3u8", rendition: "s0_" },
];
const browser = await open("cues");

async function watch(test) {
  const page = await browser.context.newPage();
  const asked = new Set();
  page.on("request", (request) => request.url().startsWith(stream) && asked.add(request.url().slice(stream.length)));
  try {
    await browser.load(page, test.player);
    await page.evaluate(([player, url]) => window.live.open(player, url), [test.player, stream + test.manifest]);
    await page.waitForFunction(() => window.live.state().start, null, { timeout: 30000 });
    await page.evaluate(() => window.live.show());
    // What was played before the text was asked for has none.
    await new Promise((r) => setTimeout(r, 6000));
    const seen = await page.evaluate((seconds) => window.live.look(seconds), Number(options.seconds));
    const { fatal, latency } = await page.evaluate(() => window.live.state());
    return { seen, fatal, latency, texts: [...asked].filter((name) => /^[sw]\d+_.*_[sp]\d+\./.test(name)) };
  } finally {
    await page.close();
  }
}

/** The share of the pictures at which the text is as the picture says; those near a change count for nobody. */
function agreement(seen, which) {
  const settled = seen.filter(({ bright }, i) =>
    seen.slice(Math.max(0, i - 4), i + 5).every((other) => other.bright > 128 === bright > 128));
  const right = settled.filter((picture) => picture[which].length > 0 === picture.bright > 128);
  return { share: right.length / settled.length, bright: settled.filter(({ bright }) => bright > 128).length, count: settled.length };
}

let failed = false;
console.log("player      latency  pictures  bright  cue told  cue shown  words");
for (const test of CASES.filter((c) => !options.only || options.only.split(",").includes(c.name))) {
  const problems = [];
  try {
    const { seen, fatal, latency, texts } = await watch(test);
    const told = agreement(seen, "told");
    const shown = agreement(seen, "shown");
    const words = [...new Set(seen.flatMap((picture) => picture.shown))];
    console.log(
      test.name.padEnd(11), (latency ?? NaN).toFixed(2).padStart(7), String(told.count).padStart(8), String(told.bright).padStart(7), told.share.toFixed(3).padStart(9),
      shown.share.toFixed(3).padStart(10), JSON.stringify(words),
    );
    problems.push(...fatal.map((e) => `fatal: ${e}`));
    if (!(told.count > 100) || !(told.bright > 20) || told.bright > told.count - 20) problems.push("the pictures do not change");
    if (!(told.share > (test.least ?? 0.97))) problems.push("the text is not that of the pictures");
    if (!(shown.share > 0.85)) problems.push("the text is not shown with the pictures");
    const wanted = ["first words", "words & more"];
    const plain = words.map((text) => text.replace(/<[^>]*>/g, "").replace(/&amp;/g, "&"));
    if (!wanted.every((text) => plain.includes(text))) problems.push(`of ${wanted} only ${plain} was shown`);
    if (!texts.length || !texts.every((name) => name.startsWith(test.rendition))) problems.push(`asked for ${texts.slice(0, 3)}`);
  } catch (error) {
    problems.push(String(error));
  }
  for (const problem of problems) console.log(`  FAILED: ${test.name}: ${problem}`);
  failed ||= problems.length > 0;
}
await browser.close();
process.exit(failed ? 1 : 0);
