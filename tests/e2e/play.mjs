// Plays a ladder in headless Chromium with hls.js, dash.js and shaka, and says whether it really played.
//
//   node play.mjs DIRECTORY|URL [--only NAME] [--shots DIRECTORY] [--seconds N] [--duration S] [--rungs H,H,...]
//
// DIRECTORY holds master.m3u8, manifest.mpd or both; so does what is below URL, which a server may make while it is asked. For each player: the clock advances, the picture is neither
// black nor flat, sound is decoded, forcing the lowest and then the highest rung changes the picture's height,
// a seek near the end plays to the end, no error is fatal and nothing is asked for that is not there.
// --seek F seeks to that fraction of the length first, where nothing has been played yet, and plays on.
// --duration and --rungs say what the player must find; --cue START-END=TEXT a subtitle that must be there, once.
// GS_NODE_MODULES and GS_CHROMIUM say where the players and the browser are (tests/setup/env.sh).

import { createServer } from "node:http";
import { createReadStream, existsSync, mkdirSync, statSync } from "node:fs";
import { extname, join, normalize, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { PLAYERS, launch } from "./chromium.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));

const options = { only: "", shots: "", seconds: 3, duration: "", rungs: "", cue: "", seek: "", directory: "" };
for (let i = 2; i < process.argv.length; i++) {
  const word = process.argv[i];
  if (word.startsWith("--")) options[word.slice(2)] = process.argv[++i];
  else options.directory = word;
}
const remote = /^https?:/.test(options.directory) ? options.directory.replace(/\/?$/, "/") : "";
if (!options.directory || (!remote && !existsSync(options.directory))) {
  console.error("usage: node play.mjs DIRECTORY|URL [--only NAME] [--shots DIRECTORY] [--seconds N] [--duration S] [--rungs H,H] [--seek F] [--cue START-END=TEXT]");
  process.exit(2);
}
const ladder = remote ? "" : resolve(options.directory);
const playFor = Number(options.seconds);

const CASES = [
  { name: "hls.js", player: "hls", manifest: "master.m3u8" },
  { name: "dash.js", player: "dash", manifest: "manifest.mpd" },
  { name: "shaka-hls", player: "shaka", manifest: "master.m3u8" },
  { name: "shaka-dash", player: "shaka", manifest: "manifest.mpd" },
];
const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".m3u8": "application/vnd.apple.mpegurl",
  ".mpd": "application/dash+xml", ".mp4": "video/mp4", ".m4s": "video/iso.segment", ".m4a": "audio/mp4",
  ".ts": "video/mp2t", ".vtt": "text/vtt",
};

/** How many files of the ladder a player waits for. */
let loading = 0;

/** Serves /media/ from the ladder, /player/NAME from the players and /page.html from here; remembers misses. */
function serve() {
  const misses = [];
  const forward = async (request, response, name) => {
    const range = request.headers.range ? { range: request.headers.range } : {};
    const answer = await fetch(new URL(name, remote), { headers: range });
    if (answer.status >= 400) misses.push(`${name} (${answer.status})`);
    const headers = {};
    for (const kept of ["content-type", "content-range", "accept-ranges"]) {
      if (answer.headers.has(kept)) headers[kept] = answer.headers.get(kept);
    }
    const body = Buffer.from(await answer.arrayBuffer());
    response.writeHead(answer.status, { ...headers, "content-length": body.length }).end(body);
  };
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    let file = null;
    if (path.startsWith("/media/")) {
      loading++;
      response.on("close", () => loading--);
    }
    if (remote && path.startsWith("/media/")) {
      forward(request, response, path.slice("/media/".length)).catch(() => response.destroy());
      return;
    }
    if (path.startsWith("/media/")) {
      const inside = normalize(join(ladder, path.slice("/media/".length)));
      if (inside.startsWith(ladder + sep)) file = inside;
    } else if (path.startsWith("/player/")) {
      file = PLAYERS[path.slice("/player/".length)] ?? null;
    } else if (path === "/page.html") {
      file = join(here, "page.html");
    } else if (path === "/favicon.ico") {
      response.writeHead(204).end();
      return;
    }
    if (!file || !existsSync(file) || !statSync(file).isFile()) {
      misses.push(path);
      response.writeHead(404).end();
      return;
    }
    const size = statSync(file).size;
    const headers = { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream", "Accept-Ranges": "bytes" };
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    let start = 0;
    let end = size - 1;
    if (range) {
      start = Number(range[1]);
      end = range[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
      if (start > end) {
        response.writeHead(416, { "Content-Range": `bytes */${size}` }).end();
        return;
      }
      headers["Content-Range"] = `bytes ${start}-${end}/${size}`;
    }
    headers["Content-Length"] = size === 0 ? 0 : end - start + 1;
    response.writeHead(range ? 206 : 200, headers);
    if (size === 0 || request.method === "HEAD") response.end();
    else createReadStream(file, { start, end }).pipe(response);
  });
  return new Promise((done) => {
    server.listen(0, "127.0.0.1", () => done({ server, misses, base: `http://127.0.0.1:${server.address().port}` }));
  });
}

/** Calls `probe` with `argument`, or what that gives then, until it answers something true, or fails with `what` and the page's own account. */
async function until(page, what, milliseconds, probe, argument) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const state = await page.evaluate(() => window.gs.state());
    if (state.fatal.length) throw new Error(`fatal error while waiting for ${what}: ${state.fatal.join("; ")}`);
    const answer = await page.evaluate(probe, typeof argument === "function" ? argument() : argument);
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`no ${what} within ${milliseconds / 1000} s: ${JSON.stringify(state)}`);
    await new Promise((r) => setTimeout(r, 100));
  }
}

function expect(truth, message) {
  if (!truth) throw new Error(message);
}

async function play(context, base, test) {
  const page = await context.newPage();
  const consoleErrors = [];
  let sought = "";
  page.on("pageerror", (error) => consoleErrors.push(String(error)));
  try {
    const open = async () => {
      await page.goto(`${base}/page.html`);
      await page.addScriptTag({ url: `${base}/player/${test.player}` });
      await page.evaluate(([player, url]) => window.gs.open(player, url), [test.player, `${base}/media/${test.manifest}`]);
      await until(page, "first picture", 30000, () => window.gs.state().width > 0 && window.gs.state().time > 0);
    };
    // Where a seek meets Shaka 5.2.12's own change of rung, what it was loading is lost: of transport streams Chromium refuses
    // what it appends then ("Parsed buffers not in DTS sequence"), of CMAF it stands still. So it does with FFmpeg's segments,
    // in 15 of 80 runs and 7 of 75 on a busy machine. It is left to end what it is loading.
    const calm = async () => {
      if (test.player !== "shaka") return;
      await until(page, "an end of loading", 30000, (idle) => window.gs.settled() && idle, () => loading === 0);
    };
    await open();
    const begin = await page.evaluate(() => window.gs.state().time);
    const length = await page.evaluate(() => window.gs.state().duration);
    const wantedLength = Number(options.duration);
    expect(!wantedLength || Math.abs(length - wantedLength) < 0.25, `lasts ${length} s, expected ${wantedLength}`);
    const stretch = Math.min(playFor, length - begin - 0.5);
    await until(page, `${stretch} s of playback`, 30000, ([from, span]) => window.gs.state().time >= from + span, [
      begin,
      stretch,
    ]);

    const picture = await page.evaluate(() => window.gs.picture());
    expect(picture.mean > 8, `the picture is black: mean luma ${picture.mean.toFixed(1)}`);
    expect(picture.deviation > 5, `the picture is flat: deviation ${picture.deviation.toFixed(1)}`);
    if (options.shots) {
      mkdirSync(options.shots, { recursive: true });
      await page.locator("#video").screenshot({ path: join(options.shots, `${test.name}.png`) });
    }

    if (options.seek) {
      const there = length * Number(options.seek);
      await calm();
      const asked = Date.now();
      await page.evaluate((time) => window.gs.seek(time), there);
      await until(page, `playback at ${there.toFixed(1)} s`, 30000, (t) => window.gs.state().time > t + 0.3, there);
      sought = `, ${((Date.now() - asked - 300) / 1000).toFixed(1)} s after the seek to ${there.toFixed(1)} s`;
      if (options.shots) await page.locator("#video").screenshot({ path: join(options.shots, `${test.name}-seek.png`) });
    }

    const heights = await page.evaluate(() => window.gs.heights());
    const found = [...heights].sort((a, b) => b - a).join(",");
    expect(!options.rungs || found === options.rungs, `has rungs ${found}, expected ${options.rungs}`);
    const seen = [];
    if (heights.length > 1) {
      const low = Math.min(...heights);
      const high = Math.max(...heights);
      for (const wanted of [low, high, low]) {
        await page.evaluate(() => window.gs.rewindIfNearEnd());
        await page.evaluate((height) => window.gs.force(height), wanted);
        await until(page, `switch to ${wanted} lines`, 30000, (h) => window.gs.state().height === h, wanted);
        seen.push(wanted);
        const at = await page.evaluate(() => window.gs.state().time);
        await until(page, `playback after the switch to ${wanted}`, 20000, (t) => window.gs.state().time > t + 0.5, at);
      }
    } else {
      throw new Error(`one rung only (${heights}): no switch can be shown`);
    }

    if (options.cue) {
      const [, start, end, text] = /^([\d.]+)-([\d.]+)=(.*)$/.exec(options.cue);
      await page.evaluate(() => window.gs.showText());
      await page.evaluate((time) => window.gs.seek(time), Number(start));
      await until(page, "a subtitle", 20000, () => window.gs.cues().length > 0);
      // Into the next segment, which has the cue again.
      await page.evaluate(() => window.gs.rewindIfNearEnd());
      await until(page, "its end", 20000, (time) => window.gs.state().time > time + 0.7, Number(end));
      const cues = await page.evaluate(() => window.gs.cues());
      const found = cues.filter((cue) => cue.text === text);
      expect(found.length === 1, `the cue ${text} is there ${found.length} times: ${JSON.stringify(cues)}`);
      const off = Math.max(Math.abs(found[0].start - Number(start)), Math.abs(found[0].end - Number(end)));
      expect(off < 0.1, `the cue is at ${found[0].start} to ${found[0].end}`);
    }

    const state = await page.evaluate(() => window.gs.state());
    // In a player of its own: dash.js, told to replace what it has buffered, may declare the stream ended where that
    // ended, and what it appends afterwards leaves it paused there.
    await open();
    await calm();
    await page.evaluate(() => window.gs.seek(window.gs.state().duration - 1.5));
    await until(page, "the end", 30000, (dash) => (dash ? window.gs.playOn() : window.gs.state().ended), test.player === "dash");

    expect(state.audioBytes > 0, "no sound was decoded");
    expect(state.frames > 24, `only ${state.frames} frames were decoded`);
    expect(consoleErrors.length === 0, `script errors: ${consoleErrors.join("; ")}`);
    return (
      `${length.toFixed(2)} s${sought}, rungs ${heights.join("/")}, switched to ${seen.join(" → ")}, ` +
      `${state.frames} frames (${state.dropped} dropped), ${state.audioBytes} bytes of sound, ` +
      `luma ${picture.mean.toFixed(0)} ± ${picture.deviation.toFixed(0)}` +
      (state.warnings.length ? `; not fatal: ${[...new Set(state.warnings)].join(", ")}` : "")
    );
  } finally {
    await page.close();
  }
}

const { server, misses, base } = await serve();
const browser = await launch("e2e");
let passed = 0;
let failed = 0;
const wanted = CASES.filter((c) => !options.only || c.name === options.only);
const has = async (manifest) => (remote ? (await fetch(new URL(manifest, remote))).ok : existsSync(join(ladder, manifest)));
for (const test of wanted) {
  if (!(await has(test.manifest))) continue;
  misses.length = 0;
  try {
    const account = await play(browser.context, base, test);
    expect(misses.length === 0, `asked for what is not there: ${misses.join(", ")}`);
    console.log(`PASS ${test.name} ${test.manifest}: ${account}`);
    passed++;
  } catch (error) {
    console.log(`FAIL ${test.name} ${test.manifest}: ${error.message}` + (misses.length ? ` (404: ${misses})` : ""));
    failed++;
  }
}
await browser.close();
server.close();
console.log(`players: ${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
