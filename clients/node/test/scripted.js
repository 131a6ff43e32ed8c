// A stand-in for the service whose replies a test writes: it answers as `me5 serve` does until told otherwise.

import { createServer } from "node:http";
import { once } from "node:events";

export const DIM = 3;

/** A vector that tells which text it is of, if the text is a number. */
export const vector = (text) => [/^\d+$/.test(text) ? Number(text) : -1, text.length, 0.5];

export function embedded({ texts }, { truncated = 0, lost = 0 } = {}) {
  const body = Buffer.alloc(texts.length * DIM * 4);
  texts.flatMap(vector).forEach((number, at) => body.writeFloatLE(number, 4 * at));
  const headers = {
    "content-type": "application/octet-stream",
    "x-me5-shape": `${texts.length},${DIM}`,
    "x-me5-truncated": truncated,
    "x-me5-tokens-lost": lost,
  };
  return { status: 200, headers, body };
}

export function failure(status, message = "no", headers = {}) {
  const body = JSON.stringify({ error: { message, type: "some_error", param: null, code: null } });
  return { status, headers: { "content-type": "application/json", ...headers }, body };
}

/** What a healthy service answers. */
export function usual(seen) {
  if (seen.path === "/v1/embeddings") return embedded(seen);
  if (seen.path === "/info") return { status: 200, headers: {}, body: JSON.stringify({ dim: DIM }) };
  return { status: seen.path === "/health" ? 200 : 404, headers: {}, body: "" };
}

/** Replies from `script` while it has any, then as `answer` says; `{drop: true}` closes the connection instead. */
export async function start() {
  const service = { seen: [], script: [], answer: usual };
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const fields = chunks.length ? JSON.parse(Buffer.concat(chunks)) : {};
    const seen = { path: request.url, headers: request.headers, fields, texts: fields.input };
    service.seen.push(seen);
    const reply = await (service.script.shift() ?? service.answer(seen));
    if (reply.drop) return request.socket.destroy();
    response.writeHead(reply.status, reply.headers).end(reply.body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  service.url = `http://127.0.0.1:${server.address().port}`;
  service.close = () => {
    server.closeAllConnections();
    server.close();
  };
  return service;
}
