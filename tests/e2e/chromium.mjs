// Headless Chromium with a profile of its own, and where the players are, for all checks that play in it. GS_NODE_MODULES and GS_CHROMIUM
// say where both are (tests/setup/env.sh).

import { createRequire } from "node:module";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";

const modules = process.env.GS_NODE_MODULES;

/** Whether browser and players are there. */
export const present = Boolean(modules && process.env.GS_CHROMIUM);

/** The players' files, by the names that pages ask for. */
export const PLAYERS = Object.fromEntries(
  Object.entries({
    hls: "hls.js/dist/hls.min.js",
    dash: "dashjs/dist/modern/umd/dash.all.min.js",
    shaka: "shaka-player/dist/shaka-player.compiled.js",
  }).map(([name, file]) => [name, join(modules ?? "", file)]),
);

/** A browser; `close` ends it and leaves nothing behind. */
export async function launch(name) {
  const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");
  const profile = mkdtempSync(join(tmpdir(), `gs-${name}-`));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.GS_CHROMIUM,
    headless: true,
    args: [
      "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
      "--autoplay-policy=no-user-gesture-required",
    ],
  });
  return {
    context,
    async close() {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}
