import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { Me5Client, Me5Error, similarity } from "me5-client";

import { DIM, embedded, failure, start, usual, vector } from "./scripted.js";

const NUMBERS = Array.from({ length: 300 }, (_, number) => String(number));

let service;
let client;
let warned;
const connect = (options = {}) =>
  new Me5Client({ baseUrl: service.url, warn: (message) => warned.push(message), ...options });
beforeEach(async () => {
  service = await start();
  warned = [];
  client = connect();
});
afterEach(() => service.close());

const plain = (vectors) => vectors.map((one) => Array.from(one));
const numbersOf = (requests) => requests.map(({ texts }) => texts.length).sort((a, b) => a - b);

describe("requests", () => {
  for (const [method, options, fields] of [
    ["encodeQuery", {}, { side: "query" }],
    ["encodeQuery", { task: "bitext" }, { side: "query", task: "bitext" }],
    ["encodeDocument", {}, { side: "document" }],
    ["encode", {}, { side: "both" }],
    ["encode", { task: "sts" }, { side: "both", task: "sts" }],
  ]) {
    it(`${method} ${JSON.stringify(options)} sends the side and the task`, async () => {
      const vectors = await client[method]("7", options);
      assert.ok(vectors[0] instanceof Float32Array);
      assert.deepEqual(plain(vectors), [vector("7")]);
      assert.deepEqual(service.seen[0].fields, { input: ["7"], encoding_format: "base64", ...fields });
      assert.equal(service.seen[0].headers.accept, "application/octet-stream");
      assert.equal(service.seen[0].headers.authorization, undefined);
    });
  }

  it("search sends the question and its options, and nothing that was not given", async () => {
    service.answer = ({ path }) => ({ status: 200, headers: {}, body: JSON.stringify({ hits: [], path }) });
    assert.deepEqual(await client.search("how tall is K2?"), { hits: [], path: "/v1/search" });
    await connect({ model: "mine" }).search("K2", { k: 3, by: "words", language: ["de"] });
    await client.store();
    assert.deepEqual(
      service.seen.map(({ path, fields }) => [path, fields]),
      [
        ["/v1/search", { query: "how tall is K2?" }],
        ["/v1/search", { query: "K2", model: "mine", k: 3, by: "words", language: ["de"] }],
        ["/v1/search", {}],
      ],
    );
    await assert.rejects(client.search(["K2"]), /expected a question as a string, got object/);
    const stop = AbortSignal.abort(new Error("enough"));
    await assert.rejects(client.search("K2", { signal: stop }), /enough/);
  });

  it("score sends both sides, and resolves to what came", async () => {
    const reply = { scores: [[74]], ranking: [[0]], probabilities: [[0.9]] };
    service.answer = () => ({ status: 200, headers: {}, body: JSON.stringify(reply) });
    assert.deepEqual(await client.score("K2?", new Set(["8,611 m"]), { task: "sts" }), reply);
    assert.deepEqual(service.seen[0].fields, { queries: ["K2?"], documents: ["8,611 m"], task: "sts" });
  });

  it("rerank sends a query with its documents, and resolves to the best of them", async () => {
    const ranked = [{ index: 1, score: 0.9 }, { index: 0, score: 0.1 }];
    const headers = { "x-me5-truncated": 1, "x-me5-tokens-lost": 7 };
    service.answer = () => ({ status: 200, headers, body: JSON.stringify(ranked) });
    client = connect({ model: "mine", truncation: "chunk" }); // these are the embedding model's
    assert.deepEqual(await client.rerank("K2?", new Set(["bread", "8,611 m"])), ranked);
    assert.deepEqual(await client.rerank("K2?", ["bread", "8,611 m"], { top: 1, raw: true }), ranked.slice(0, 1));
    assert.deepEqual(
      service.seen.map(({ path, fields }) => [path, fields]),
      [false, true].map((raw) => ["/rerank", { query: "K2?", texts: ["bread", "8,611 m"], raw_scores: raw }]),
    );
    assert.match(warned[0], /pairs longer than the service's reranker reads were cut: 1 of 2, 7 tokens lost/);
    assert.deepEqual(await client.rerank("K2?", []), []);
    await assert.rejects(client.rerank("K2?", ["bread", 7]), /document 1 is number, expected a string/);
    await assert.rejects(client.rerank("", ["bread"]), /query is empty/);
    await assert.rejects(client.rerank("K2?", ["bread"], { top: 0 }), /top must be a whole number from 1, got 0/);
    await assert.rejects(client.rerank("K2?", ["bread"]), /is not what a me5 service sends/); // of one text two
  });

  it("carry model, truncation and key", async () => {
    client = connect({ model: "mine", truncation: "chunk", apiKey: "k-1" });
    await client.encodeDocument(["ü \u2028 😀"]);
    const { fields, texts, headers } = service.seen[0];
    assert.deepEqual([fields.model, fields.truncation], ["mine", "chunk"]);
    assert.deepEqual(texts, ["ü \u2028 😀"]);
    assert.equal(headers.authorization, "Bearer k-1");
  });

  it("carry the environment's key", async () => {
    process.env.ME5_API_KEY = "k-2";
    try {
      await connect().encodeDocument("1");
    } finally {
      delete process.env.ME5_API_KEY;
    }
    assert.equal(service.seen[0].headers.authorization, "Bearer k-2");
  });

  it("go to the base URL of other libraries as well", async () => {
    for (const suffix of ["/", "/v1", "/v1/"]) {
      client = connect({ baseUrl: service.url + suffix });
      assert.equal((await client.encodeQuery(["1", "2"])).length, 2);
    }
  });

});

describe("similarity", () => {
  it("is the cosine of each with each", () => {
    const rows = similarity([new Float32Array([1, 0]), [3, 4]], [[0, 2], [1, 0], [-3, -4]]);
    const expected = [[0, 1, -0.6], [0.8, 0.6, -1]];
    rows.flat().forEach((number, at) => assert.ok(Math.abs(number - expected.flat()[at]) < 1e-12));
    assert.deepEqual(rows.map((row) => row.length), [3, 3]);
    assert.deepEqual(similarity([], [[1]]), []);
  });

  it("needs vectors of one length", () => assert.throws(() => similarity([[1]], [[1, 2]]), /of 1 and 2 numbers/));
});

describe("options", () => {
  for (const [options, complaint] of [
    [{ baseUrl: "localhost:8080" }, /must start with http/],
    [{ truncation: "middle" }, /unknown truncation 'middle'/],
    [{ batchSize: 0 }, /batchSize must be a whole number from 1, got 0/],
    [{ retries: -1 }, /retries must be a whole number from 0/],
    [{ timeout: 0.5 }, /timeout must be a whole number from 1/],
    [{ concurrency: NaN }, /concurrency must be a whole number from 1/],
  ]) {
    it(`refuses ${JSON.stringify(options)}`, () => assert.throws(() => new Me5Client(options), complaint));
  }

  it("keeps the key out of sight", () => {
    assert.deepEqual(Object.keys(new Me5Client({ apiKey: "secret" })), ["baseUrl"]);
  });
});

describe("large inputs", () => {
  it("are split by count and come back in order", async () => {
    const waiting = [];
    service.answer = (seen) => {
      // The first request is answered last.
      const reply = embedded(seen);
      if (seen.texts[0] !== "0") {
        waiting.forEach((answer) => answer());
        return reply;
      }
      return new Promise((resolve) => waiting.push(() => resolve(reply)));
    };
    const vectors = await client.encodeDocument(new Set(NUMBERS));
    assert.deepEqual(plain(vectors), NUMBERS.map(vector));
    assert.deepEqual(numbersOf(service.seen), [44, 128, 128]);
  });

  it("are split by characters, and a longer text goes alone", async () => {
    const texts = ["x".repeat(25_000), "y".repeat(25_000), "z", "w".repeat(100_000), "v"];
    const vectors = await client.encodeDocument(texts);
    assert.deepEqual(vectors.map((one) => one[1]), texts.map((text) => text.length));
    assert.deepEqual(numbersOf(service.seen), [1, 1, 1, 2]);
  });

  it("keep a few requests going", async () => {
    let now = 0;
    let most = 0;
    const waiting = [];
    service.answer = async (seen) => {
      most = Math.max(most, ++now);
      // Nobody is answered before three are here.
      if (waiting.length < 2) await new Promise((resolve) => waiting.push(resolve));
      else waiting.forEach((go) => go());
      now--;
      return embedded(seen);
    };
    client = connect({ batchSize: 10, concurrency: 3 });
    assert.deepEqual(plain(await client.encodeDocument(NUMBERS)), NUMBERS.map(vector));
    assert.equal(most, 3);
  });

  it("end with the first failure", async () => {
    service.answer = (seen) =>
      seen.texts[0] === "0" ? failure(400, "bad text") : new Promise(() => {});
    client = connect({ batchSize: 1 });
    await assert.rejects(client.encodeDocument(NUMBERS), /bad text/);
    assert.ok(service.seen.length <= 4);
  });

  it("may be empty", async () => {
    assert.deepEqual(await client.encodeQuery([]), []);
    assert.equal(service.seen.length, 0);
  });

  it("name a bad item by its place in the whole input", async () => {
    await assert.rejects(client.encodeQuery([...NUMBERS, null]), { name: "TypeError", message: /text 300 is null/ });
    await assert.rejects(client.encodeQuery(["a", "\ud800"]), /text 1 holds a lone surrogate/);
    await assert.rejects(client.encodeQuery(["a", ""]), /text 1 is empty/);
    await assert.rejects(client.encodeQuery(7), /an iterable of strings, got number/);
    await assert.rejects(client.encodeQuery(null), /got null/);
  });

  it("tell from where the service counts", async () => {
    service.answer = (seen) => (seen.texts.includes("22") ? failure(400, "text 2 is too long") : embedded(seen));
    client = connect({ batchSize: 10 });
    await assert.rejects(client.encodeQuery(NUMBERS), /text 2 is too long, after 1 try \(counted from item 20 of/);
  });
});

describe("tries", () => {
  for (const status of [429, 502, 503]) {
    it(`are repeated after ${status}`, async () => {
      service.script = [failure(status, "busy")];
      assert.deepEqual(plain(await client.encodeQuery("5")), [vector("5")]);
      assert.equal(service.seen.length, 2);
      assert.deepEqual(service.seen[0].fields, service.seen[1].fields);
      assert.equal(warned.length, 1);
      assert.match(warned[0], new RegExp(`/v1/embeddings: ${status} busy; try 2 of 5 in 0\\.[234] s`));
    });
  }

  it("obey Retry-After, as a number and as a date, and are ended by a signal", async () => {
    for (const asked of ["30", new Date(Date.now() + 30_000).toUTCString()]) {
      const stop = new AbortController();
      service.script = [failure(429, "busy", { "retry-after": asked })];
      const asking = client.encodeQuery("5", { signal: stop.signal });
      // Without Retry-After the second try would come within 0.4 seconds.
      setTimeout(() => stop.abort(new Error("enough")), 600);
      await assert.rejects(asking, /enough/);
    }
    assert.equal(service.seen.length, 2);
  });

  for (const nonsense of ["soon", "1e999", ""]) {
    it(`pass over a Retry-After of ${JSON.stringify(nonsense)}`, async () => {
      service.script = [failure(503, "busy", { "retry-after": nonsense })];
      assert.deepEqual(plain(await client.encodeQuery("5")), [vector("5")]);
    });
  }

  it("do not wait for a long Retry-After", async () => {
    service.script = [failure(429, "used up", { "retry-after": "3600" })];
    await assert.rejects(client.encodeQuery("5"), {
      name: "Me5Error",
      message: /429 used up, after 1 try\. It asks to come back in 3600 s/,
      status: 429,
      tries: 1,
    });
  });

  it("are told when it gives up", async () => {
    service.answer = () => failure(503, "starting");
    client = connect({ retries: 1 });
    await assert.rejects(client.encodeQuery("5"), { message: /503 starting, after 2 tries/, status: 503, tries: 2 });
    assert.equal(service.seen.length, 2);
  });

  it("are repeated after a lost connection", async () => {
    service.script = [{ drop: true }];
    assert.deepEqual(plain(await client.encodeQuery("5")), [vector("5")]);
    assert.equal(service.seen.length, 2);
  });

  it("find nobody", async () => {
    service.close();
    client = connect({ retries: 1 });
    await assert.rejects(client.encodeQuery("5"), {
      message: /ECONNREFUSED.*after 2 tries; is `me5 serve` running there/,
      status: null,
      tries: 2,
    });
  });

  it("are not repeated after a slow reply", async () => {
    service.answer = () => new Promise(() => {});
    client = connect({ timeout: 500 });
    await assert.rejects(client.encodeQuery("5"), /no reply in time, after 1 try; it may still be at work on it/);
    assert.equal(service.seen.length, 1);
  });

  it("end when the caller has enough", async () => {
    const stop = new AbortController();
    service.answer = () => {
      stop.abort(new Error("enough"));
      return new Promise(() => {});
    };
    await assert.rejects(client.encodeQuery("5", { signal: stop.signal }), /^Error: enough/);
    await assert.rejects(client.encodeQuery("5", { signal: AbortSignal.abort() }), { name: "AbortError" });
    assert.equal(service.seen.length, 1);
  });

  for (const [status, complaint] of [
    [400, /400 wrong/],
    [401, /401 wrong, after 1 try\. Pass apiKey, or set ME5_API_KEY/],
    [404, /404 wrong, after 1 try\. baseUrl must be where/],
    [413, /413 wrong/],
    [422, /422 wrong/],
    [500, /500 wrong/],
    [504, /504 wrong/],
  ]) {
    it(`are not repeated after ${status}`, async () => {
      service.answer = () => failure(status, "wrong");
      client = connect({ apiKey: "secret" });
      await assert.rejects(client.encodeQuery("5"), (error) => {
        assert.ok(error instanceof Me5Error);
        assert.match(error.message, complaint);
        assert.doesNotMatch(error.message, /secret/);
        assert.equal(error.status, status);
        return true;
      });
      assert.equal(service.seen.length, 1);
    });
  }
});

describe("replies", () => {
  for (const [body, told] of [
    ['{"error": "of TEI", "error_type": "Overloaded"}', /500 of TEI/],
    ['{"message": "of Cohere"}', /500 of Cohere/],
    ["<h1>of a proxy</h1>", /500 <h1>of a proxy<\/h1>/],
    ["null", /500 null/],
    ["", /: 500, after 1 try/],
  ]) {
    it(`tell the error ${body}`, async () => {
      service.answer = () => ({ status: 500, headers: {}, body });
      await assert.rejects(client.encodeQuery("5"), told);
    });
  }

  for (const change of [
    { "x-me5-shape": "1,4" },
    { "x-me5-shape": "three" },
    { "x-me5-shape": "1,3,1" },
    { "x-me5-shape": "2,3" },
    { "x-me5-truncated": "some" },
  ]) {
    it(`are refused with ${JSON.stringify(change)}`, async () => {
      service.answer = (seen) => {
        const reply = embedded(seen);
        return { ...reply, headers: { ...reply.headers, ...change } };
      };
      await assert.rejects(client.encodeQuery("5"), /is not what a me5 service sends/);
    });
  }

  it("of another kind of service are refused", async () => {
    service.answer = () => ({ status: 200, headers: { "content-type": "text/html" }, body: "<html>" });
    await assert.rejects(client.encodeQuery("5"), /the reply \(text\/html\) is not what a me5 service sends/);
    await assert.rejects(client.info(), /is not what a me5 service sends/);
  });

  it("tell of truncation once per call", async () => {
    service.answer = (seen) => embedded(seen, { truncated: 1, lost: 9 });
    client = connect({ batchSize: 30 });
    await client.encodeDocument(NUMBERS);
    assert.equal(warned.length, 1);
    assert.match(warned[0], /cut: 10 of 300 \(among items 0 to 29, .*, 120 to 149, …\), 90 tokens lost/);
  });

  it("pass on what the service warns of, once", async () => {
    service.answer = (seen) => {
      const reply = embedded(seen);
      return { ...reply, headers: { ...reply.headers, "x-me5-warning": "no model %C3%BC here" } };
    };
    client = connect({ batchSize: 100 });
    await client.encodeDocument(NUMBERS);
    assert.deepEqual(warned, ["the service says: no model ü here"]);
  });

  it("tell console.warn where nothing else is said", async (test) => {
    const said = test.mock.method(console, "warn", () => {});
    service.answer = (seen) => embedded(seen, { truncated: 1, lost: 9 });
    await new Me5Client({ baseUrl: service.url }).encodeDocument("5");
    assert.match(said.mock.calls[0].arguments[0], /cut: 1 of 1/);
  });

  it("to info", async () => {
    assert.equal((await client.info()).dim, DIM);
    service.answer = () => failure(500);
    await assert.rejects(client.info(), /GET .*\/info: 500 no, after 1 try/);
  });
});
