// How long a viewer waits: from asking for a job to the first picture that Chromium paints (hls.js), the server beside a
// small web server that spawns FFmpeg's command for HLS and answers when its playlist is there.
//
//   node first_frame.mjs SERVER CLIP FOLDER ROUNDS HEIGHT KBITS       prints [[ghoststream, ffmpeg], ...] in seconds as JSON
//
// GS_NODE_MODULES and GS_CHROMIUM say where hls.js and the browser are. first_frame.py calls it.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, watch } from "node:fs";
import { join, normalize, sep } from "node:path";
import { tmpdir } from "node:os";

const [server, clip, folder, rounds, height, kbits] = process.argv.slice(2);
const modules = process.env.GS_NODE_MODULES;
const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");
const SEGMENT = 4;
const running = new Set();

/** Starts FFmpeg for HLS in a folder of its own; gives the folder's name. */
function begin(rate) {
  const name = `job${rate}`;
  mkdirSync(join(folder, name));
  const words = ["-nostdin", "-v", "error", "-i", clip, "-map", "0:v:0", "-map", "0:a:0?", "-vf", `scale=-2:${height}`];
  words.push("-c:v", "libx264", "-preset", "veryfast", "-b:v", `${rate}k`, "-maxrate", `${rate}k`);
  words.push("-bufsize", `${rate * 1.5}k`, "-force_key_frames", `expr:gte(t,n_forced*${SEGMENT})`, "-c:a", "aac");
  words.push("-f", "hls", "-hls_time", `${SEGMENT}`, "-hls_list_size", "0", "-hls_flags", "temp_file", join(folder, name, "list.m3u8"));
  running.add(spawn("ffmpeg", words, { stdio: ["ignore", "ignore", "inherit"] }));
  return name;
}

/** Waits until a file has its name: told by the file system, not polled. */
function there(path) {
  return new Promise((done) => {
    const watcher = watch(join(path, ".."), () => existsSync(path) && (watcher.close(), done()));
    if (existsSync(path)) {
      watcher.close();
      done();
    }
  });
}

const web = createServer(async (request, response) => {
  const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  if (path === "/page") {
    response.setHeader("Content-Type", "text/html");
    response.end('<!doctype html><video id="v" muted style="width:640px"></video><script src="/hls.js"></script>');
  } else if (path === "/hls.js") {
    response.end(readFileSync(join(modules, "hls.js/dist/hls.min.js")));
  } else if (request.method === "POST") {
    response.end(JSON.stringify({ stream_url: `/${begin(Number(path.slice(1)))}/list.m3u8` }));
  } else {
    const file = normalize(join(folder, path));
    if (!file.startsWith(folder + sep)) return response.writeHead(404).end();
    await there(file);
    response.end(readFileSync(file));
  }
});
await new Promise((done) => web.listen(0, "127.0.0.1", done));
const base = `http://127.0.0.1:${web.address().port}`;

const profile = mkdtempSync(join(tmpdir(), "gs-bench-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.GS_CHROMIUM,
  headless: true,
  args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--disable-web-security"],
});

/** Seconds from the request to the first painted picture. */
async function once(url, body) {
  const page = await context.newPage();
  try {
    await page.goto(`${base}/page`);
    return await page.evaluate(
      ([url, body]) =>
        new Promise(async (done, failed) => {
          const video = document.getElementById("v");
          const start = performance.now();
          video.requestVideoFrameCallback((now) => done((now - start) / 1000));
          const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body });
          const job = await answer.json();
          const player = new Hls();
          player.on(Hls.Events.ERROR, (_, data) => data.fatal && failed(new Error(data.details)));
          player.loadSource(job.stream_url);
          player.attachMedia(video);
          video.play();
        }),
      [url, body],
    );
  } finally {
    await page.close();
  }
}

const found = [];
for (let n = 0; n < Number(rounds); n++) {
  // Another rate each time: nothing is there from the time before.
  const rate = Number(kbits) + n;
  const sides = {
    ghoststream: () => once(`${server}/api/transcode/start`, JSON.stringify({ source: clip, output: { resolution: `${height}p`, bitrate: `${rate}k`, hw_accel: "software" } })),
    ffmpeg: () => once(`${base}/${rate}`, ""),
  };
  const took = {};
  for (const name of n % 2 ? ["ffmpeg", "ghoststream"] : ["ghoststream", "ffmpeg"]) {
    took[name] = await sides[name]();
    running.forEach((process) => process.kill("SIGKILL"));
    running.clear();
    const jobs = (await (await fetch(`${server}/api/transcode/jobs`)).json()).jobs ?? [];
    for (const job of jobs) await fetch(`${server}/api/transcode/${job.job_id}/cancel`, { method: "POST" });
    await new Promise((done) => setTimeout(done, 1000));
  }
  console.error(`  ${n + 1}/${rounds}: ${took.ghoststream.toFixed(2)} s, ffmpeg ${took.ffmpeg.toFixed(2)} s`);
  found.push([took.ghoststream, took.ffmpeg]);
}
console.log(JSON.stringify(found));
await context.close();
rmSync(profile, { recursive: true, force: true });
web.close();
process.exit(0);
