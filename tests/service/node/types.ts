// What the types of me5-client promise and refuse; `tsc` checks it, nothing runs it.

import { Me5Client, Me5Error, similarity, type Truncation } from "me5-client";

const truncation: Truncation = "chunk";
const warn = (message: string) => console.info(message);
const client = new Me5Client({ baseUrl: "http://localhost", apiKey: "k", truncation, concurrency: 2, warn });

const queries: Float32Array[] = await client.encodeQuery(new Set(["a"]), { task: "bitext" });
const documents: Float32Array[] = await client.encodeDocument("a", { signal: AbortSignal.timeout(1) });
const both: Float32Array[] = await client.encode(["a"], { task: "sts" });
const cosines: number[][] = similarity(queries, [[0.6, 0.8]]);
const dim: number = (await client.info()).dim;
const places: string[] = (await client.search("a", { k: 3, by: "words", language: ["de"] })).hits.map((hit) => hit.place);
const passages: number = (await client.store()).passages;
const likely: number[][] | undefined = (await client.score("a", ["b"])).probabilities;
const fits: (number | null)[] = (await client.search("a", { min_probability: 0.5 })).hits.map((hit) => hit.probability);
const best: number | undefined = (await client.rerank("a", ["b", "c"], { top: 1, raw: true }))[0]?.index;
export default { best, likely, fits, queries, documents, both, cosines, dim, places, passages };

try {
  await client.encode("a");
} catch (error) {
  if (error instanceof Me5Error) {
    const status: number | null = error.status;
    const tries: number = error.tries;
    console.log(status, tries);
  }
}

// @ts-expect-error documents take no task
await client.encodeDocument(["a"], { task: "bitext" });
// @ts-expect-error one query
await client.rerank(["a"], ["b"]);
// @ts-expect-error no such policy
new Me5Client({ truncation: "middle" });
// @ts-expect-error no such ranking
await client.search("a", { by: "hybrid" });
// @ts-expect-error texts are strings
await client.encodeQuery([7]);
// @ts-expect-error set once
client.baseUrl = "http://elsewhere";
