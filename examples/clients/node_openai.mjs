// Ask a running `me5 serve` with OpenAI's library: the end of the model's name says which side the texts are on.
//
//   npm install openai
//   me5 serve &
//   node examples/clients/node_openai.mjs

import OpenAI from "openai";

const queries = ["how tall is K2?", "南瓜的家常做法"];
const documents = ["清炒南瓜丝:嫩南瓜半个切成细丝,锅烧热放油,入葱花煸出香味。", "K2 rises to 8,611 metres.", "Bake for an hour."];

const client = new OpenAI({
  baseURL: `${process.env.ME5_URL ?? "http://127.0.0.1:8080"}/v1`,
  apiKey: process.env.ME5_API_KEY ?? "none needed",
});

const embed = async (model, input) => (await client.embeddings.create({ model, input })).data.map((one) => one.embedding);
const dot = (left, right) => left.reduce((sum, x, at) => sum + x * right[at], 0);

const [asked, answers] = [await embed("me5-small:query", queries), await embed("me5-small:document", documents)];

asked.forEach((query, at) => {
  const row = answers.map((answer) => 100 * dot(query, answer));
  const best = row.indexOf(Math.max(...row));
  console.log(`${queries[at]}  →  ${documents[best]}  (${row[best].toFixed(1)})`);
});
