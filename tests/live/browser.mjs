// What the checks with players in a browser share: headless Chromium, and a server of the page (players.html) and the players. The stream
// itself comes from its own server, across origins. GS_NODE_MODULES and GS_CHROMIUM say where the players and the browser are
// (tests/setup/env.sh).

import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { PLAYERS, launch, present } from "../e2e/chromium.mjs";

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
  if (!present) {
    console.log(`${name}: SKIPPED: the players or Chromium are missing (tests/setup/setup.sh test)`);
    process.exit(77);
  }
  const page = fileURLToPath(new URL("players.html", import.meta.url));
  const players = Object.entries(PLAYERS).map(([name, file]) => [`/${name}`, [file, "text/javascript"]]);
  const files = { "/page": [page, "text/html"], ...Object.fromEntries(players) };
  const server = createServer((request, response) => {
    const [file, type] = files[request.url] ?? [];
    if (!file) response.writeHead(request.url === "/favicon.ico" ? 204 : 404).end();
    else response.writeHead(200, { "Content-Type": type }).end(readFileSync(file));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const base = `http://127.0.0.1:${server.address().port}`;
  const browser = await launch(name);
  return {
    context: browser.context,
    /** The page with a player, to be asked through `window.live`. */
    async load(page, player) {
      await page.goto(`${base}/page`);
      await page.addScriptTag({ url: `${base}/${player}` });
    },
    async close() {
      await browser.close();
      server.close();
    },
  };
}
