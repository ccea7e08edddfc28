// The cameras that a web page sees, and what one of them shows: node camera.mjs NAME SCREENSHOT. Prints JSON: labels, size,
// frames a second, and the colours of a row of points in the middle of the picture.

import { createRequire } from "node:module";
import { createServer } from "node:http";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.GS_NODE_MODULES, "x.js"))("playwright-core");
const [name, file] = process.argv.slice(2);
// Cameras are for pages of a secure origin, which localhost is.
const server = createServer((_, answer) => answer.end("<!doctype html><video autoplay muted></video>"));
await new Promise(done => server.listen(0, "127.0.0.1", done));
const browser = await chromium.launch({
  executablePath: process.env.GS_CHROMIUM,
  args: ["--no-sandbox", "--use-fake-ui-for-media-stream", "--enable-features=WebRtcPipeWireCamera", "--autoplay-policy=no-user-gesture-required"],
});
try {
  const context = await browser.newContext({ viewport: { width: 720, height: 420 }, permissions: ["camera"] });
  const page = await context.newPage();
  await page.goto(`http://localhost:${server.address().port}/`);
  const seen = await page.evaluate(async name => {
    const cameras = async () => (await navigator.mediaDevices.enumerateDevices()).filter(d => d.kind === "videoinput");
    let found;
    for (let i = 0; i < 50 && !found; i++) {
      found = (await cameras()).find(d => d.label.includes(name));
      await new Promise(done => setTimeout(done, 100));
    }
    const labels = (await cameras()).map(d => d.label);
    if (!found) return { labels };
    const stream = await navigator.mediaDevices.getUserMedia({ video: { deviceId: { exact: found.deviceId } } });
    const video = document.querySelector("video");
    video.srcObject = stream;
    await video.play();
    let frames = 0;
    const begin = performance.now();
    await new Promise(done => {
      const next = () => {
        frames++;
        if (performance.now() - begin > 3000) done();
        else video.requestVideoFrameCallback(next);
      };
      video.requestVideoFrameCallback(next);
    });
    const fps = frames / ((performance.now() - begin) / 1000);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const pen = canvas.getContext("2d");
    pen.drawImage(video, 0, 0);
    const colours = [];
    for (let i = 0; i < 7; i++) {
      const x = Math.floor(((i + 0.5) / 7) * canvas.width);
      colours.push([...pen.getImageData(x, Math.floor(canvas.height / 3), 1, 1).data.slice(0, 3)]);
    }
    return { labels, width: video.videoWidth, height: video.videoHeight, fps, colours };
  }, name);
  await page.screenshot({ path: file });
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
  server.close();
}
