// Ask a running `me5 serve` with me5's own client for Node.js.
//
//   npm install ./clients/node
//   me5 serve &
//   node examples/clients/node_me5.mjs

import { Me5Client, similarity } from "me5-client";

const queries = ["how tall is K2?", "南瓜的家常做法"];
const documents = ["清炒南瓜丝:嫩南瓜半个切成细丝,锅烧热放油,入葱花煸出香味。", "K2 rises to 8,611 metres.", "Bake for an hour."];

const client = new Me5Client({ baseUrl: process.env.ME5_URL ?? "http://127.0.0.1:8080" });
const scores = similarity(await client.encodeQuery(queries), await client.encodeDocument(documents));

scores.forEach((row, at) => {
  const best = row.indexOf(Math.max(...row));
  console.log(`${queries[at]}  →  ${documents[best]}  (${(100 * row[best]).toFixed(1)})`);
});
