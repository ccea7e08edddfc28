// A screenshot of the built-in page that plays a source, after a seek to 80 %: node shot.mjs URL SOURCE FILE

import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.GS_NODE_MODULES, "x.js"))("playwright-core");
const [url, source, file] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.GS_CHROMIUM,
  args: ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.goto(`${url}/?source=${encodeURIComponent(source)}`);
  await page.selectOption("#mode", "abr");
  await page.focus("#source");
  await page.keyboard.press("Enter");
  const reaches = beyond =>
    page.waitForFunction(t => document.querySelector("video").currentTime > t, beyond, { timeout: 60000 });
  await reaches(0.5);
  const target = await page.evaluate(() => {
    const video = document.querySelector("video");
    return (video.currentTime = video.duration * 0.8);
  });
  await reaches(target + 0.3);
  await page.screenshot({ path: file });
} finally {
  await browser.close();
}
