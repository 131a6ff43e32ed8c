// Client of `me5 serve`, for Node.js and browsers: sides, splitting of large inputs, retries with Retry-After, and
// nothing else. It needs fetch, AbortSignal.any and String.isWellFormed: Node.js 20.3, browsers of 2024.
//
// Retries: a lost connection and the statuses 429, 502 and 503 are tried again, `retries` times at most. The wait is
// 0.25 seconds, doubled each time up to 8, or what Retry-After asks where that is longer; times 1 to 1.5 at random, so
// that many clients do not return at once. A Retry-After above a minute is not waited for. `warn` is told of every
// retry. A reply that takes longer than `timeout` is not asked for again: the service may still be at work on it.

const BATCH_CHARS = 50_000;
const RETRIED = [429, 502, 503];
const FIRST_WAIT = 0.25; // seconds, as all waits here
const LONGEST_WAIT = 8;
const LONGEST_ASKED = 60;
const NODES_OWN_TIMEOUT = /^UND_ERR_(HEADERS|BODY)_TIMEOUT$/;
const TRUNCATIONS = ["end", "start", "chunk", "error"];
const RAW = "application/octet-stream";
const HINTS = {
  401: ". Pass apiKey, or set ME5_API_KEY",
  403: ". Pass another apiKey",
  404: ". baseUrl must be where `me5 serve` listens, and model one that GET /v1/models lists",
};

/** What the service refused, or that it could not be reached. */
export class Me5Error extends Error {
  constructor(message, { status = null, tries = 1, cause } = {}) {
    super(message, { cause });
    this.name = "Me5Error";
    this.status = status;
    this.tries = tries;
  }
}

export class Me5Client {
  #apiKey;
  #fields;
  #batchSize;
  #timeout;
  #retries;
  #concurrency;
  #warn;

  constructor({
    baseUrl = "http://127.0.0.1:8080",
    apiKey = globalThis.process?.env?.ME5_API_KEY,
    model,
    truncation,
    batchSize = 128,
    timeout = 300_000,
    retries = 4,
    concurrency = 4,
    warn = (message) => console.warn(message),
  } = {}) {
    if (!/^https?:\/\//.test(baseUrl)) {
      throw new TypeError(`baseUrl must start with http:// or https://, got ${JSON.stringify(baseUrl)}`);
    }
    if (truncation !== undefined && !TRUNCATIONS.includes(truncation)) {
      throw new TypeError(`unknown truncation '${truncation}'; expected one of ${TRUNCATIONS.join(", ")}`);
    }
    for (const [name, value, least] of [
      ["batchSize", batchSize, 1],
      ["timeout", timeout, 1],
      ["retries", retries, 0],
      ["concurrency", concurrency, 1],
    ]) {
      if (!(Number.isInteger(value) && value >= least)) {
        throw new RangeError(`${name} must be a whole number from ${least}, got ${value}`);
      }
    }
    // Other libraries want the /v1 in their base URL: theirs works here as well.
    this.baseUrl = baseUrl.replace(/\/+$/, "").replace(/\/v1$/, "");
    this.#apiKey = apiKey;
    this.#fields = { model, truncation };
    this.#batchSize = batchSize;
    this.#timeout = timeout;
    this.#retries = retries;
    this.#concurrency = concurrency;
    this.#warn = warn;
  }

  encodeQuery(texts, { task, signal } = {}) {
    return this.#encode(texts, { side: "query", task }, signal);
  }

  encodeDocument(texts, { signal } = {}) {
    return this.#encode(texts, { side: "document" }, signal);
  }

  encode(texts, { task, signal } = {}) {
    return this.#encode(texts, { side: "both", task }, signal);
  }

  info({ signal } = {}) {
    return this.#object({ method: "GET", path: "/info" }, signal);
  }

  async search(question, { signal, ...fields } = {}) {
    if (typeof question !== "string") throw new TypeError(`expected a question as a string, got ${typeof question}`);
    const { model } = this.#fields;
    const body = JSON.stringify({ query: question, model, ...fields });
    return this.#object({ method: "POST", path: "/v1/search", body }, signal);
  }

  store({ signal } = {}) {
    return this.#object({ method: "GET", path: "/v1/search" }, signal);
  }

  score(queries, documents, { task, signal } = {}) {
    const texts = (given) => (typeof given === "string" ? [given] : [...given]);
    const body = JSON.stringify({ queries: texts(queries), documents: texts(documents), task, model: this.#fields.model });
    return this.#object({ method: "POST", path: "/v1/score", body }, signal);
  }

  async rerank(query, documents, { top = Infinity, raw = false, signal } = {}) {
    const texts = typeof documents === "string" ? [documents] : [...documents];
    check(query, "query");
    texts.forEach((text, index) => check(text, `document ${index}`));
    if (!(top === Infinity || (Number.isInteger(top) && top >= 1))) {
      throw new RangeError(`top must be a whole number from 1, got ${top}`);
    }
    if (!texts.length) return [];
    const body = JSON.stringify({ query, texts, raw_scores: raw });
    const reply = await this.#send({ method: "POST", path: "/rerank", body }, signal);
    const ranked = json(this.baseUrl, reply);
    const [cut, lost] = counted(reply);
    if (!Array.isArray(ranked) || ranked.length !== texts.length || Number.isNaN(cut + lost)) {
      throw notOurs(this.baseUrl, reply);
    }
    if (cut) {
      this.#warn(
        `pairs longer than the service's reranker reads were cut: ${cut} of ${texts.length}, ${lost} tokens lost`,
      );
    }
    return ranked.slice(0, top);
  }

  async #object(request, signal) {
    return json(this.baseUrl, await this.#send(request, signal));
  }

  // Several requests at a time take their texts from one place; the first failure ends them all.
  async #encode(texts, fields, signal) {
    const failed = new AbortController();
    const signals = AbortSignal.any(signal ? [signal, failed.signal] : [failed.signal]);
    const parts = split(texts, this.#batchSize);
    const blocks = [];
    const work = async () => {
      try {
        for (const part of parts) {
          const body = JSON.stringify({ input: part.texts, encoding_format: "base64", ...this.#fields, ...fields });
          const request = { method: "POST", path: "/v1/embeddings", accept: RAW, body, first: part.first };
          blocks[part.number] = read(this.baseUrl, await this.#send(request, signals), part);
        }
      } catch (error) {
        failed.abort(error);
      }
    };
    await Promise.all(Array.from({ length: this.#concurrency }, work));
    if (failed.signal.aborted) throw failed.signal.reason;
    for (const message of notices(blocks)) this.#warn(message);
    return blocks.flatMap((block) => block.vectors);
  }

  async #send(request, signal) {
    for (let tries = 1; ; tries++) {
      const outcome = await this.#try(request, signal);
      if (outcome.ok) return outcome;
      const asked = retryAfter(outcome);
      if (!outcome.mayPass || tries > this.#retries || asked > LONGEST_ASKED) {
        throw this.#failure(request, outcome, tries, asked);
      }
      const wait = Math.max(asked, Math.min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT)) * (1 + Math.random() / 2);
      const next = `try ${tries + 1} of ${this.#retries + 1} in ${wait.toFixed(1)} s`;
      this.#warn(`${request.method} ${this.baseUrl}${request.path}: ${tell(outcome)}; ${next}`);
      await sleep(wait, signal);
    }
  }

  // One try: {ok, status, headers, body} of a reply, {ok: false, error, mayPass} of a connection.
  async #try({ method, path, accept = "application/json", body }, signal) {
    const late = AbortSignal.timeout(this.#timeout);
    const headers = { accept };
    if (body !== undefined) headers["content-type"] = "application/json";
    if (this.#apiKey) headers.authorization = `Bearer ${this.#apiKey}`;
    try {
      const signals = signal ? AbortSignal.any([signal, late]) : late;
      const reply = await fetch(this.baseUrl + path, { method, headers, body, signal: signals });
      const { ok, status } = reply;
      return { ok, status, headers: reply.headers, body: await reply.arrayBuffer(), mayPass: RETRIED.includes(status) };
    } catch (error) {
      signal?.throwIfAborted();
      const timedOut = late.aborted || NODES_OWN_TIMEOUT.test(error.cause?.code);
      return { ok: false, status: null, error, timedOut, mayPass: !timedOut };
    }
  }

  #failure(request, outcome, tries, asked) {
    let hint = HINTS[outcome.status] ?? "";
    if (outcome.timedOut) {
      hint = "; it may still be at work on it: send less at once (batchSize), or give a longer timeout";
    } else if (outcome.error) {
      hint = "; is `me5 serve` running there?";
      if (globalThis.document) hint += " A page of another origin needs its --cors-origins";
    } else if (asked) {
      hint = `. It asks to come back in ${Math.round(asked)} s`;
    } else if ([400, 413, 422].includes(outcome.status) && request.first) {
      hint = ` (counted from item ${request.first} of the input)`;
    }
    const times = `${tries} ${tries === 1 ? "try" : "tries"}`;
    const message = `${request.method} ${this.baseUrl}${request.path}: ${tell(outcome)}, after ${times}${hint}`;
    return new Me5Error(message, { status: outcome.status, tries, cause: outcome.error });
  }
}

export function similarity(left, right) {
  return left.map((a) => right.map((b) => cosine(a, b)));
}

function cosine(a, b) {
  if (a.length !== b.length) throw new RangeError(`vectors of ${a.length} and ${b.length} numbers cannot be compared`);
  let [dot, ofA, ofB] = [0, 0, 0];
  for (let index = 0; index < a.length; index++) {
    dot += a[index] * b[index];
    ofA += a[index] ** 2;
    ofB += b[index] ** 2;
  }
  return dot / Math.max(Math.sqrt(ofA * ofB), 1e-12);
}

// {number, first, texts} in order: at most `batchSize` texts and BATCH_CHARS characters; a longer text goes alone.
function* split(texts, batchSize) {
  if (typeof texts === "string") texts = [texts];
  if (typeof texts?.[Symbol.iterator] !== "function") {
    throw new TypeError(`expected a string or an iterable of strings, got ${texts === null ? "null" : typeof texts}`);
  }
  let part = { number: 0, first: 0, texts: [] };
  let chars = 0;
  let index = 0;
  for (const text of texts) {
    check(text, `text ${index}`);
    if (part.texts.length === batchSize || (part.texts.length && chars + text.length > BATCH_CHARS)) {
      yield part;
      part = { number: part.number + 1, first: index, texts: [] };
      chars = 0;
    }
    part.texts.push(text);
    chars += text.length;
    index++;
  }
  if (part.texts.length) yield part;
}

function check(text, name) {
  if (typeof text !== "string") {
    throw new TypeError(`${name} is ${text === null ? "null" : typeof text}, expected a string`);
  }
  if (text === "") throw new TypeError(`${name} is empty, which the service refuses; leave it out`);
  if (!text.isWellFormed()) throw new TypeError(`${name} holds a lone surrogate, which is not valid Unicode`);
}

function json(baseUrl, reply) {
  try {
    return JSON.parse(new TextDecoder().decode(reply.body));
  } catch (cause) {
    throw notOurs(baseUrl, reply, cause);
  }
}

// How many texts the service cut, and the tokens that they lost; NaN where it does not say.
function counted(reply) {
  return ["x-me5-truncated", "x-me5-tokens-lost"].map((name) => Number(reply.headers.get(name) ?? NaN));
}

function read(baseUrl, reply, { first, texts }) {
  const [rows, dim, ...more] = (reply.headers.get("x-me5-shape") ?? "").split(",").map(Number);
  const [truncated, lost] = counted(reply);
  if (rows !== texts.length || more.length || rows * dim * 4 !== reply.body.byteLength || Number.isNaN(truncated + lost)) {
    throw notOurs(baseUrl, reply);
  }
  const view = new DataView(reply.body);
  const vectors = [];
  for (let at = 0; at < reply.body.byteLength; at += 4 * dim) {
    const vector = new Float32Array(dim);
    // Little-endian wherever this runs. Float32Array.from would take nine times as long.
    for (let column = 0; column < dim; column++) vector[column] = view.getFloat32(at + 4 * column, true);
    vectors.push(vector);
  }
  const warning = decodeURIComponent(reply.headers.get("x-me5-warning") ?? "");
  return { vectors, truncated, lost, first, texts: rows, warning };
}

function notOurs(baseUrl, reply, cause) {
  const kind = reply.headers.get("content-type") ?? "of no type";
  return new Me5Error(
    `${baseUrl}: the reply (${kind}) is not what a me5 service sends; baseUrl must be where \`me5 serve\` listens`,
    { status: reply.status, cause },
  );
}

// What a call should tell of its blocks: texts that were cut, and what the service warned of, each once.
function notices(blocks) {
  const told = new Set(blocks.map(({ warning }) => warning && `the service says: ${warning}`).filter(Boolean));
  const cut = blocks.filter((block) => block.truncated);
  if (cut.length) {
    const sum = (name, among) => among.reduce((total, block) => total + block[name], 0);
    const items = cut.slice(0, 5).map(({ first, texts }) => `${first} to ${first + texts - 1}`).join(", ");
    told.add(
      `texts longer than the service's model reads were cut: ${sum("truncated", cut)} of ${sum("texts", blocks)} ` +
        `(among items ${items}${cut.length > 5 ? ", …" : ""}), ${sum("lost", cut)} tokens lost. ` +
        "Truncation 'chunk' reads everything",
    );
  }
  return told;
}

// The seconds that Retry-After asks for, as a number or as a date; 0 where it asks for none.
function retryAfter(outcome) {
  const asked = outcome.headers?.get("retry-after")?.trim() ?? "";
  const seconds = /^\d/.test(asked) ? Number(asked) : (Date.parse(asked) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : 0;
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const go = () => {
      signal?.removeEventListener("abort", stop);
      resolve();
    };
    const timer = setTimeout(go, seconds * 1000);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

// One line on what happened: the lost connection, or the status and its message in any dialect of the service.
function tell(outcome) {
  if (outcome.timedOut) return "no reply in time";
  if (outcome.error) return String(outcome.error.cause?.message || outcome.error.cause?.code || outcome.error.message);
  const text = new TextDecoder().decode(outcome.body);
  let said = text;
  try {
    const fields = JSON.parse(text);
    const error = fields?.error ?? fields?.message ?? fields?.detail;
    said = error?.message ?? error ?? text;
  } catch {
    // A proxy's page, most likely.
  }
  return `${outcome.status} ${String(said).replace(/\s+/g, " ").trim().slice(0, 500)}`.trim();
}
