// cohere-ai for Node.js against live services: what it received, as JSON.

import { readFileSync } from "node:fs";
import { CohereClientV2 } from "cohere-ai";

const { texts, open, locked } = JSON.parse(readFileSync(0, "utf8"));
const connect = ({ url, key }) => new CohereClientV2({ environment: url, token: key });
const ask = (client, fields = {}) =>
  client.embed({ model: "me5-small", inputType: "search_query", texts, embeddingTypes: ["float"], ...fields }, { maxRetries: 0 });
const failure = async (promise) => {
  const error = await promise.then(() => ({}), (error) => error);
  return { kind: error.constructor.name, status: error.statusCode, message: error.body?.message };
};

const client = connect(open);
const vectors = {};
for (const inputType of ["search_query", "search_document", "classification", "clustering"]) {
  vectors[inputType] = (await ask(client, { inputType })).embeddings.float;
}
const embeddingTypes = ["float", "int8", "uint8", "binary", "ubinary", "base64"];
const types = (await ask(client, { embeddingTypes })).embeddings;
const { meta } = await ask(client, { texts: ["a", "word ".repeat(2000)] });
const errors = {
  long: await failure(ask(client, { texts: ["a", "word ".repeat(2000)], truncate: "NONE" })),
  key: await failure(ask(connect({ ...locked, key: "wrong" }))),
  model: await failure(ask(client, { model: "embed-v4.0" })),
};
console.log(JSON.stringify({ vectors, types, meta, errors }));
