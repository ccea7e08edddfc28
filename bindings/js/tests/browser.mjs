// The client in headless Chromium against a real server: a job is started, its progress comes over the WebSocket as an async
// iterator, what it made plays, and it is removed. Also from a page of another origin, which the server allows by its settings.
//
//   node browser.mjs SERVER CLIP CLIENT PORT      CLIENT: the compiled module, PORT: of the page

import { createRequire } from "node:module";
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.GS_NODE_MODULES, "x.js"))("playwright-core");
const [url, clip, module, port] = process.argv.slice(2);
const page_server = createServer((request, response) => {
  const code = request.url === "/client.js";
  response.writeHead(200, { "Content-Type": code ? "text/javascript" : "text/html" });
  response.end(code ? readFileSync(module) : "<!doctype html><title>client</title><video muted></video>");
});
await new Promise((done) => page_server.listen(Number(port), "127.0.0.1", done));
const browser = await chromium.launch({ executablePath: process.env.GS_CHROMIUM, args: ["--no-sandbox", "--mute-audio"] });
let failed = 0;
const check = (what, good, more = "") => {
  if (!good) failed++;
  console.log(`    ${good ? "ok    " : "FAILED"} ${what} ${good ? "" : more}`);
};
try {
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(`http://127.0.0.1:${port}/`);
  const said = await page.evaluate(
    async ([url, clip]) => {
      const { GhostStreamClient } = await import("/client.js");
      const client = new GhostStreamClient(url);
      const healthy = await client.healthCheck();
      const profile = { video_codecs: ["h264"], audio_codecs: ["aac"], containers: ["mp4"] };
      const asked = { source: clip, mode: "batch", format: "mp4", resolution: "480p", profile, priority: "high" };
      const job = await client.transcode(asked);
      const events = [];
      for await (const event of client.subscribeProgress(job.job_id)) events.push(event);
      const done = await client.getJobStatus(job.job_id);
      const bytes = (await (await fetch(done.download_url)).arrayBuffer()).byteLength;
      const film = document.querySelector("video");
      film.src = done.download_url;
      await film.play();
      const size = [film.videoWidth, film.videoHeight];
      const removed = await client.deleteJob(job.job_id);
      let gone;
      try {
        gone = await client.getJobStatus(job.job_id);
      } catch (error) {
        gone = [error.name, error.status];
      }
      return { healthy, events, done, bytes, size, removed, gone };
    },
    [url, clip],
  );
  const kinds = new Set(said.events.map((e) => e.type));
  const last = said.events.at(-1);
  check("it reaches the server from another origin", said.healthy === true);
  check("progress comes as it is made", kinds.has("progress"), JSON.stringify(said.events.slice(0, 3)));
  const rises = said.events.filter((e) => e.type === "progress").map((e) => e.data.progress);
  check("and rises", rises.every((p, n) => n === 0 || p >= rises[n - 1]), String(rises));
  check("the iterator ends when the job does", last?.type === "status_change" && last.data.status === "ready", JSON.stringify(last));
  check("the file comes and plays", said.bytes > 10_000 && said.size[1] === 480, `${said.bytes} ${said.size}`);
  const why = said.done.playback;
  check("it is told how and why", why?.method === "transcode" && /smaller/.test(why.reason), JSON.stringify(why));
  check("it is removed", said.removed === true && said.gone?.[1] === 404, JSON.stringify([said.removed, said.gone]));
  check("nothing went wrong on the page", errors.length === 0, errors.join("; "));
} finally {
  await browser.close();
  page_server.close();
}
process.exit(failed ? 1 : 0);
