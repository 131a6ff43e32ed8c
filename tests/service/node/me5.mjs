// me5-client against live services: what it received, as JSON.

import { readFileSync } from "node:fs";
import { Me5Client, similarity } from "me5-client";

const { texts, open, locked, narrow, debt } = JSON.parse(readFileSync(0, "utf8"));
const warnings = [];
const connect = ({ url, key }, options = {}) =>
  new Me5Client({ baseUrl: url, apiKey: key, warn: (message) => warnings.push(message), ...options });
const failure = async (promise) => {
  const { name, status, tries, message } = await promise.then(() => ({}), (error) => error);
  return { name, status, tries, message };
};
const warned = () => warnings.splice(0);
const plain = (vectors) => vectors.map((one) => Array.from(one));

const client = connect(open);
const one = connect(open, { batchSize: 1 });
const vectors = {
  query: await client.encodeQuery(texts),
  document: await client.encodeDocument(texts),
  both: await client.encode(texts),
  "query, one a request": await one.encodeQuery(new Set(texts)),
  "query for bitext": await client.encodeQuery(texts, { task: "bitext" }),
  "both for bitext": await client.encode(texts, { task: "bitext" }),
};
const notCut = warned();

const long = ["short", "long ".repeat(600), "longer ".repeat(600)];
const cut = { end: await client.encodeDocument(long) };
const cutWarnings = warned();
cut.chunk = await connect(open, { truncation: "chunk" }).encodeDocument(long);
const chunkWarnings = warned();

const many = Array.from({ length: 300 }, (_, number) => `number ${number}`);
const large = await client.encodeDocument(many.values());

const errors = {
  key: await failure(connect({ ...locked, key: "wrong" }).encodeQuery(texts)),
  model: await failure(connect(open, { model: "other" }).encodeQuery(texts)),
  task: await failure(client.encodeQuery(texts, { task: "nonsense" })),
  long: await failure(connect(open, { truncation: "error", batchSize: 2, concurrency: 1 }).encodeDocument(["a", "b", ...long])),
  aborted: await failure(client.encodeQuery(texts, { signal: AbortSignal.abort(new Error("enough")) })),
};

await connect(narrow).encodeDocument(debt);
warned();
errors.limit = await failure(connect(narrow, { retries: 0 }).encodeDocument(debt));
vectors["query after Retry-After"] = await connect(narrow, { retries: 1 }).encodeQuery(texts);
const retryWarnings = warned();
await connect(narrow, { model: "other", retries: 1 }).encodeQuery("a");
const otherWarnings = warned().filter((message) => message.startsWith("the service"));

const result = {
  vectors: Object.fromEntries(Object.entries(vectors).map(([name, rows]) => [name, plain(rows)])),
  cosines: similarity(vectors.query, vectors.document),
  cut: { end: plain(cut.end), chunk: plain(cut.chunk) },
  large: plain(large),
  info: await client.info(),
  warnings: { notCut, cutWarnings, chunkWarnings, retryWarnings, otherWarnings },
  errors,
};
console.log(JSON.stringify(result));
