// What the checks with players in a browser share: headless Chromium, and a server of the page (players.html) and the players. The stream
// itself comes from its own server, across origins. GS_NODE_MODULES and GS_CHROMIUM say where the players and the browser are
// (tests/setup/env.sh).

import { createRequire } from "node:module";
import { createServer } from "node:http";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const modules = process.env.GS_NODE_MODULES;

/** The options of the command line over `options`; a word without dashes is the URL. */
export function read(options) {
  for (let i = 2; i < process.argv.length; i++) {
    const word = process.argv[i];
    if (word.startsWith("--")) options[word.slice(2)] = process.argv[++i];
    else options.url = word;
  }
  return options;
}

/** Chromium and the page's server; ends the process where a peer of `name` is missing. */
export async function open(name) {
  if (!modules || !process.env.GS_CHROMIUM) {
    console.log(`${name}: SKIPPED: the players or Chromium are missing (tests/setup/setup.sh test)`);
    process.exit(77);
  }
  const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");
  const files = {
    "/page": [join(here, "players.html"), "text/html"],
    "/hls": [join(modules, "hls.js/dist/hls.min.js"), "text/javascript"],
    "/dash": [join(modules, "dashjs/dist/modern/umd/dash.all.min.js"), "text/javascript"],
    "/shaka": [join(modules, "shaka-player/dist/shaka-player.compiled.js"), "text/javascript"],
  };
  const server = createServer((request, response) => {
    const [file, type] = files[request.url] ?? [];
    if (!file) response.writeHead(request.url === "/favicon.ico" ? 204 : 404).end();
    else response.writeHead(200, { "Content-Type": type }).end(readFileSync(file));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const base = `http://127.0.0.1:${server.address().port}`;
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
    /** The page with a player, to be asked through `window.live`. */
    async load(page, player) {
      await page.goto(`${base}/page`);
      await page.addScriptTag({ url: `${base}/${player}` });
    },
    async close() {
      await context.close();
      server.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}
