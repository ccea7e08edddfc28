// A stream that tells its own age: FFmpeg's test picture and a tone under a strip of 24 cells, black or white, that are the
// milliseconds of this machine's clock. `publish` sends it, `age` reads it in a page.
//
//   node strip.mjs rtmp://127.0.0.1:1935/live/one      publishes until it is killed

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const WIDTH = 640, HEIGHT = 360, RATE = 25;
/** What `age` needs to know. */
export const STRIP = { bits: 24, cell: 24, width: WIDTH, height: 16 };

/** Publishes by RTMP until the process that it returns is killed; FFmpeg's words go to `log`, a file's descriptor. */
export function publish(url, log) {
  const child = spawn("ffmpeg", [
    "-v", "error", "-fflags", "nobuffer", "-probesize", "32", "-f", "rawvideo", "-pix_fmt", "gray", "-s", `${WIDTH}x${STRIP.height}`,
    "-r", String(RATE), "-i", "pipe:0",
    "-f", "lavfi", "-i", `testsrc=s=${WIDTH}x${HEIGHT}:r=${RATE}`, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
    "-filter_complex", "[1][0]overlay=0:0:shortest=1,format=yuv420p[v]", "-map", "[v]", "-map", "2:a", "-shortest",
    "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", String(RATE * 2), "-b:v", "800k", "-c:a", "aac",
    "-flush_packets", "1", "-f", "flv", url,
  ], { stdio: ["pipe", log, log] });
  child.stdin.on("error", () => {});
  const row = Buffer.alloc(WIDTH);
  const began = Date.now();
  let sent = 0;
  const timer = setInterval(() => {
    for (; sent < (Date.now() - began) * RATE / 1000; sent++) {
      const now = Date.now() % 2 ** STRIP.bits;
      for (let x = 0; x < STRIP.bits * STRIP.cell; x++) row[x] = (now >> Math.floor(x / STRIP.cell)) & 1 ? 235 : 16;
      child.stdin.write(Buffer.concat(Array(STRIP.height).fill(row)));
    }
  }, 10);
  child.on("exit", () => clearInterval(timer));
  return child;
}

/** In a page, with STRIP: how many seconds old the picture of its `#video` is; null where it cannot be read. */
export function age({ bits, cell, width, height }) {
  const video = document.getElementById("video");
  if (video.readyState < 2) return null;
  window.strip ||= new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  window.strip.drawImage(video, 0, 0, video.videoWidth, height, 0, 0, width, height);
  const pixels = window.strip.getImageData(0, height / 2, width, 1).data;
  let then = 0;
  for (let bit = 0; bit < bits; bit++) if (pixels[(bit * cell + cell / 2) * 4 + 1] > 128) then += 2 ** bit;
  const late = (Date.now() % 2 ** bits - then + 2 ** bits) % 2 ** bits;
  return late < 60000 ? late / 1000 : null;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const child = publish(process.argv[2], "inherit");
  process.on("SIGTERM", () => child.kill());
  child.on("exit", (code) => process.exit(code ?? 0));
}
