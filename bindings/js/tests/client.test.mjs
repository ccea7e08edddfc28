// The client against small servers of its own; tests/server runs it against a real one.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { GhostStreamClient, GhostStreamError } from "../dist/index.js";

/** A server that gives `answers` ([status, JSON]) in turn, the last one again and again. */
async function serve(answers) {
  const asked = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (data) => (body += data));
    request.on("end", () => {
      asked.push({ method: request.method, path: request.url, headers: request.headers, body: body && JSON.parse(body) });
      const [status, value] = answers.length > 1 ? answers.shift() : answers[0];
      response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(value));
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const client = new GhostStreamClient(`127.0.0.1:${server.address().port}`, { retryDelay: 5, webSocket: undefined });
  return { asked, client, close: () => server.close() };
}

const job = (fields) => ({ job_id: "j", status: "processing", progress: 1, stream_url: null, ...fields });

test("a job carries its token", async () => {
  const { asked, client, close } = await serve([[200, job({ control_token: "secret" })], [200, job()], [200, {}]]);
  await client.transcode({ source: "http://a/b.mkv", videoCodec: "h265", startTime: 5 });
  await client.getJobStatus("j");
  assert.equal(await client.deleteJob("j"), true);
  assert.deepEqual(asked[0].body, { source: "http://a/b.mkv", output: { video_codec: "h265" }, start_time: 5 });
  assert.deepEqual(asked.map((a) => a.headers["x-ghoststream-control-token"]), [undefined, "secret", "secret"]);
  close();
});

test("statuses of the moment are asked again, others are reasons", async () => {
  const busy = await serve([[503, { detail: "full" }], [502, {}], [200, { status: "healthy" }]]);
  assert.equal(await busy.client.healthCheck(), true);
  assert.equal(busy.asked.length, 3);
  busy.close();
  const refused = await serve([[422, { detail: [{ loc: ["body", "mode"], msg: "Input should be 'abr'" }] }]]);
  await assert.rejects(refused.client.transcode({ source: "x" }), (e) => {
    assert(e instanceof GhostStreamError);
    assert.deepEqual([e.status, e.message], [422, "body.mode: Input should be 'abr'"]);
    return true;
  });
  assert.equal(refused.asked.length, 1);
  refused.close();
});

test("what is over cannot be cancelled", async () => {
  const { client, close } = await serve([[400, { detail: "Job cannot be cancelled" }]]);
  assert.equal(await client.cancelJob("j"), false);
  close();
});

test("waiting ends when there is something to play", async () => {
  const playing = job({ stream_url: "http://s/master.m3u8", progress: 6 });
  const { asked, client, close } = await serve([[200, job()], [200, job({ ...playing, progress: 4 })], [200, playing]]);
  assert.equal((await client.waitForReady("j", 1000, 5)).progress, 6);
  assert.equal(asked.length, 3);
  close();
  const never = await serve([[200, job()]]);
  await assert.rejects(never.client.waitForReady("j", 20, 10), GhostStreamError);
  never.close();
});

test("polled progress ends with the job", async (t) => {
  if (globalThis.WebSocket) return t.skip("this Node has a WebSocket");
  const { client, close } = await serve([[200, job()], [200, job({ status: "ready" })]]);
  const told = [];
  for await (const event of client.subscribeProgress("j")) told.push([event.type, event.data.status ?? event.data.progress]);
  assert.deepEqual(told, [["status_change", "processing"], ["progress", 1], ["status_change", "ready"]]);
  close();
});

test("addresses", () => {
  assert.equal(new GhostStreamClient("a:1").baseUrl, "http://a:1");
  assert.equal(new GhostStreamClient("https://a/base/").baseUrl, "https://a/base");
  assert.throws(() => new GhostStreamClient("a:b"), TypeError);
});
