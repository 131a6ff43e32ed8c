// What the types of me5-client promise and refuse; `tsc` checks it, nothing runs it.

import { Me5Client, Me5Error, type Truncation } from "me5-client";

const truncation: Truncation = "chunk";
const client = new Me5Client({ baseUrl: "http://localhost", apiKey: "k", truncation, concurrency: 2 });

const queries: Float32Array[] = await client.encodeQuery(new Set(["a"]), { task: "bitext" });
const documents: Float32Array[] = await client.encodeDocument("a", { signal: AbortSignal.timeout(1) });
const both: Float32Array[] = await client.encode(["a"], { task: "sts" });
const scores: number[][] = await client.score(["a"], ["b"]);
const dim: number = (await client.info()).dim;
const ready: boolean = await client.health();
export default { queries, documents, both, scores, dim, ready };

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
// @ts-expect-error no such policy
new Me5Client({ truncation: "middle" });
// @ts-expect-error texts are strings
await client.encodeQuery([7]);
// @ts-expect-error set once
client.baseUrl = "http://elsewhere";
