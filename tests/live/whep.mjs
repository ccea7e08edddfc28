// Chromium as a client of WHIP and WHEP at $GS_LIVE_HTTP.
//
//   node whep.mjs both NAME CODEC     publishes a drawn picture and watches it: prints the delay that the page sees
//   node whep.mjs play NAME           watches
//   node whep.mjs camera NAME SECONDS publishes the fake camera and microphone
//   (GS_LIVE_SECONDS says how long both and play watch: 6)
//   node whep.mjs                     watches what tests/live/run publishes by RTMP, and judges it
//
// The last line is a JSON object.

import { createRequire } from "node:module";
import { join } from "node:path";

if (!process.env.GS_NODE_MODULES || !process.env.GS_CHROMIUM || !process.env.GS_LIVE_HTTP) {
  console.log("live/whep: skipped: GS_NODE_MODULES, GS_CHROMIUM and GS_LIVE_HTTP are wanted (tests/live/run)");
  process.exit(process.env.GS_REQUIRE_PEERS === "1" ? 1 : 77);
}
const { chromium } = createRequire(join(process.env.GS_NODE_MODULES, "x.js"))("playwright-core");
const base = process.env.GS_LIVE_HTTP;
const watched = Number(process.env.GS_LIVE_SECONDS ?? 6);
const [mode, name, argument] = process.argv.length > 2 ? process.argv.slice(2) : ["play", "live/pattern"];

// Runs in the page.
async function inPage({ base, mode, name, argument, watched }) {
  const sleep = ms => new Promise(done => setTimeout(done, ms));
  async function negotiate(pc, url) {
    await pc.setLocalDescription(await pc.createOffer());
    // Candidates need not be waited for: the server answers to whoever asks.
    const answer = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: pc.localDescription.sdp,
    });
    if (answer.status !== 201) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
    await pc.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    return answer.headers.get("Location");
  }
  async function report(pc, kind) {
    for (const s of (await pc.getStats()).values()) if (s.type === "inbound-rtp" && s.kind === kind) return s;
    return {};
  }

  const CELL = 16, BITS = 16, began = performance.now(), sent = {};
  const publisher = new RTCPeerConnection();
  if (mode === "camera") {
    const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 180 } });
    media.getTracks().forEach(track => publisher.addTransceiver(track, { direction: "sendonly", streams: [media] }));
    await negotiate(publisher, `${base}/whip/${name}`);
    await sleep(Number(argument) * 1000);
    return {};
  }
  if (mode === "both") {
    const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 180 });
    const context = canvas.getContext("2d");
    let number = 0;
    setInterval(() => {
      context.fillStyle = "#606060";
      context.fillRect(0, 0, 320, 180);
      context.fillStyle = `hsl(${number * 7}, 60%, 50%)`;
      context.fillRect((number * 3) % 320, 100, 40, 40);
      for (let bit = 0; bit < BITS; bit++) {
        context.fillStyle = (number >> bit) & 1 ? "#fff" : "#000";
        context.fillRect(bit * CELL, 0, CELL, CELL);
      }
      sent[number++] = performance.now();
    }, 40);
    const media = canvas.captureStream(25);
    const transceiver = publisher.addTransceiver(media.getVideoTracks()[0], { direction: "sendonly" });
    const known = RTCRtpSender.getCapabilities("video").codecs;
    const wanted = known.filter(c => c.mimeType === `video/${argument}`);
    if (!wanted.length) throw new Error(`this Chromium has no ${argument}`);
    transceiver.setCodecPreferences([...wanted, ...known.filter(c => /rtx/i.test(c.mimeType))]);
    await negotiate(publisher, `${base}/whip/${name}`);
    await sleep(3000);
  }

  const pc = new RTCPeerConnection();
  pc.addTransceiver("video", { direction: "recvonly" });
  pc.addTransceiver("audio", { direction: "recvonly" });
  const video = document.createElement("video");
  video.muted = true;
  video.autoplay = true;
  video.srcObject = new MediaStream();
  document.body.append(video);
  pc.ontrack = event => video.srcObject.addTrack(event.track);
  const asked = performance.now();
  let first = null;
  const delays = [];
  const screen = new OffscreenCanvas(320, 180).getContext("2d", { willReadFrequently: true });
  const onFrame = now => {
    first ??= performance.now() - asked;
    if (mode === "both") {
      screen.drawImage(video, 0, 0, 320, 180);
      const pixels = screen.getImageData(0, CELL / 2, 320, 1).data;
      let number = 0;
      for (let bit = 0; bit < BITS; bit++) if (pixels[(bit * CELL + CELL / 2) * 4 + 1] > 128) number |= 1 << bit;
      if (sent[number] !== undefined) delays.push(performance.now() - sent[number]);
    }
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
  const location = await negotiate(pc, `${base}/whep/${name}`);
  await sleep(watched * 1000);
  const [pictures, sound] = [await report(pc, "video"), await report(pc, "audio")];
  const codec = (await pc.getStats()).get(pictures.codecId)?.mimeType ?? "";
  const late = delays.slice(delays.length >> 2).sort((a, b) => a - b);
  // What the publisher's congestion control (GCC) makes of the server's feedback (TWCC); 300 kbit/s until there is some.
  const ways = mode === "both" ? [...(await publisher.getStats()).values()].filter(s => s.type === "candidate-pair" && s.nominated) : [];
  const deleted = await fetch(new URL(location, base), { method: "DELETE" });
  if (deleted.status !== 200) throw new Error(`DELETE: ${deleted.status}`);
  return {
    frames: pictures.framesDecoded ?? 0,
    dropped: pictures.framesDropped ?? 0,
    width: pictures.frameWidth,
    samples: sound.totalSamplesReceived ?? 0,
    codec,
    first: Math.round(first ?? -1),
    median: Math.round(late[late.length >> 1] ?? -1),
    worst: Math.round(late[Math.floor(late.length * 0.95)] ?? -1),
    jitter_buffer: Math.round((1000 * pictures.jitterBufferDelay) / pictures.jitterBufferEmittedCount),
    lost: pictures.packetsLost,
    feedback: /a=rtcp-fb:\S+ transport-cc/.test(publisher.remoteDescription?.sdp ?? ""),
    outgoing: ways[0]?.availableOutgoingBitrate ?? 0,
    seconds: Math.round((performance.now() - began) / 1000),
  };
}

const browser = await chromium.launch({
  executablePath: process.env.GS_CHROMIUM,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
  ],
});
try {
  const context = await browser.newContext({ permissions: ["camera", "microphone"] });
  const page = await context.newPage();
  // A page of the server's, for the origin only.
  await page.route(`${base}/blank`, route => route.fulfill({ contentType: "text/html", body: "<body></body>" }));
  await page.goto(`${base}/blank`);
  const result = await page.evaluate(inPage, { base, mode, name, argument, watched });
  console.log(JSON.stringify(result));
  if (process.argv.length === 2 && !(result.frames > 40 && result.first < 8000)) {
    throw new Error("this is not enough");
  }
} finally {
  await browser.close();
}
