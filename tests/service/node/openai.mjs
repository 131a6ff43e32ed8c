// openai for Node.js against live services: what it received, as JSON.

import { readFileSync } from "node:fs";
import OpenAI from "openai";

const { texts, open, locked, narrow, debt } = JSON.parse(readFileSync(0, "utf8"));
const connect = ({ url, key }, options = {}) =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0, ...options });
const client = connect(open);
const vectorsOf = (reply) => reply.data.map((one) => one.embedding);
const failure = async (promise) => {
  const error = await promise.then(() => ({}), (error) => error);
  const { status, code, param, message, headers } = error;
  return { kind: error.constructor.name, status, code, param, message, wait: headers?.get("retry-after") };
};

const vectors = {};
for (const side of ["query", "document", "both"]) {
  for (const format of [undefined, "float", "base64"]) {
    // Base64 is also what it asks for by itself, and then decodes.
    const options = { input: texts, encoding_format: format };
    vectors[`${side} by name, ${format}`] = vectorsOf(await client.embeddings.create({ model: `me5-small:${side}`, ...options }));
    vectors[`${side} by field, ${format}`] = vectorsOf(await client.embeddings.create({ model: "me5-small", side, ...options }));
  }
}

const ask = (client, fields = {}) => client.embeddings.create({ model: "me5-small", input: texts, ...fields });
const errors = {
  model: await failure(ask(client, { model: "text-embedding-3-small" })),
  tokens: await failure(ask(client, { input: [[1, 2, 3]] })),
  empty: await failure(ask(client, { input: ["a", ""] })),
  key: await failure(ask(connect({ ...locked, key: "wrong" }))),
};

await ask(connect(narrow), { input: debt });
errors.limit = await failure(ask(connect(narrow), { input: debt }));
vectors["query by name, after Retry-After"] = vectorsOf(
  await ask(connect(narrow, { maxRetries: 1 }), { model: "me5-small:query" }),
);

const models = [];
for await (const model of client.models.list()) models.push(model.id);
const { me5, usage, model } = await ask(client, { side: "query" });
console.log(JSON.stringify({ vectors, errors, models, me5, usage, model }));
