// Plays a live stream with text in headless Chromium with dash.js and shaka, and holds the text against the pictures.
//
//   node cues.mjs URL [--seconds N] [--only NAME]
//
// URL is a stream's folder. Its pictures are bright while a text is to be shown and dark while none is, so that whoever looks at both
// sees whether the text is there, and at its time. tests/live/tracks.py runs it. GS_NODE_MODULES and GS_CHROMIUM say where the players
// and the browser are (tests/setup/env.sh).

import { createRequire } from "node:module";
import { createServer } from "node:http";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const modules = process.env.GS_NODE_MODULES;
if (!modules || !process.env.GS_CHROMIUM) {
  console.log("cues: SKIPPED: the players or Chromium are missing (tests/setup/setup.sh test)");
  process.exit(77);
}
const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");

const options = { seconds: 14, only: "", url: "" };
for (let i = 2; i < process.argv.length; i++) {
  const word = process.argv[i];
  if (word.startsWith("--")) options[word.slice(2)] = process.argv[++i];
  else options.url = word;
}
const stream = options.url.replace(/\/?$/, "/");
const CASES = [
  { name: "dash.js", player: "dash", manifest: "manifest.mpd" },
  { name: "shaka-dash", player: "shaka", manifest: "manifest.mpd" },
];
const FILES = {
  "/page": [join(here, "players.html"), "text/html"],
  "/dash": [join(modules, "dashjs/dist/modern/umd/dash.all.min.js"), "text/javascript"],
  "/shaka": [join(modules, "shaka-player/dist/shaka-player.compiled.js"), "text/javascript"],
};
const server = createServer((request, response) => {
  const [file, type] = FILES[request.url] ?? [];
  if (!file) response.writeHead(request.url === "/favicon.ico" ? 204 : 404).end();
  else response.writeHead(200, { "Content-Type": type }).end(readFileSync(file));
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const base = `http://127.0.0.1:${server.address().port}`;
const profile = mkdtempSync(join(tmpdir(), "gs-cues-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.GS_CHROMIUM,
  headless: true,
  args: [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
  ],
});

async function watch(test) {
  const page = await context.newPage();
  const asked = new Set();
  page.on("request", (request) => request.url().startsWith(stream) && asked.add(request.url().slice(stream.length)));
  try {
    await page.goto(`${base}/page`);
    await page.addScriptTag({ url: `${base}/${test.player}` });
    await page.evaluate(([player, url]) => window.live.open(player, url), [test.player, stream + test.manifest]);
    await page.waitForFunction(() => window.live.state().start, null, { timeout: 30000 });
    await page.evaluate(() => window.live.show());
    // What was played before the text was asked for has none.
    await new Promise((r) => setTimeout(r, 6000));
    const seen = await page.evaluate((seconds) => window.live.look(seconds), Number(options.seconds));
    const { fatal, width } = await page.evaluate(() => window.live.state());
    return { seen, fatal, width, texts: [...asked].filter((name) => /^[sw]\d+_.*_s\d+\./.test(name)) };
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
console.log("player      pictures  bright  cue told  cue shown  words");
for (const test of CASES.filter((c) => !options.only || c.name === options.only)) {
  const problems = [];
  try {
    const { seen, fatal, texts } = await watch(test);
    const told = agreement(seen, "told");
    const shown = agreement(seen, "shown");
    const words = [...new Set(seen.flatMap((picture) => picture.shown))];
    console.log(
      test.name.padEnd(11), String(told.count).padStart(8), String(told.bright).padStart(7), told.share.toFixed(3).padStart(9),
      shown.share.toFixed(3).padStart(10), JSON.stringify(words),
    );
    problems.push(...fatal.map((e) => `fatal: ${e}`));
    if (!(told.count > 100) || !(told.bright > 20) || told.bright > told.count - 20) problems.push("the pictures do not change");
    if (!(told.share > 0.97)) problems.push("the text is not that of the pictures");
    if (!(shown.share > 0.85)) problems.push("the text is not shown with the pictures");
    const wanted = ["first words", "words & more"];
    const plain = words.map((text) => text.replace(/<[^>]*>/g, "").replace(/&amp;/g, "&"));
    if (!wanted.every((text) => plain.includes(text))) problems.push(`of ${wanted} only ${plain} was shown`);
    if (!texts.length || !texts.every((name) => name.startsWith("w0_"))) problems.push(`asked for ${texts.slice(0, 3)}`);
  } catch (error) {
    problems.push(String(error));
  }
  for (const problem of problems) console.log(`  FAILED: ${test.name}: ${problem}`);
  failed ||= problems.length > 0;
}
await context.close();
server.close();
rmSync(profile, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
