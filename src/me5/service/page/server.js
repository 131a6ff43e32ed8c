/** The requests that the pages make, and every way in which they fail as one kind of value. */

const KEY = "me5-key";

export const base = new URL(".", location.href);
export const apiKey = () => sessionStorage.getItem(KEY) ?? "";
export const setApiKey = (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY));

/** A request that failed. `status` is 0 when no answer came; `wait` is in seconds, where the server named a time. */
export class Problem extends Error {
  constructor(status, message, { param = null, wait = null } = {}) {
    super(message);
    Object.assign(this, { status, param, wait });
  }
}

async function call(path, options = {}) {
  const headers = { accept: "application/json", ...options.headers };
  if (apiKey()) headers.authorization = `Bearer ${apiKey()}`;
  let response, text;
  try {
    response = await fetch(new URL(path, base), { ...options, headers, credentials: "same-origin" });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "");
  }
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy's page, say: told by its status alone.
  }
  if (response.ok && body !== null) return body;
  if (response.ok) throw new Problem(0, "");
  const error = body?.error ?? {};
  const message = error.message ?? body?.detail ?? body?.message ?? "";
  const after = Number.parseFloat(response.headers.get("retry-after"));
  throw new Problem(response.status, typeof message === "string" ? message : JSON.stringify(message), {
    param: error.param ?? null,
    wait: Number.isFinite(after) ? Math.max(1, Math.ceil(after)) : null,
  });
}

export const fetchTasks = () => call("v1/tasks");
export const fetchModels = () => call("v1/models");

/** The scores, prompted texts, tokens and map of a state; and the milliseconds until all of it was here. */
export async function fetchScore({ queries, documents, task, truncation }, signal) {
  const started = performance.now();
  const reply = await call("v1/score", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ queries, documents, task, truncation, details: true }),
    signal,
  });
  return { ...reply, roundTrip: performance.now() - started };
}

export const fetchStore = () => call("v1/search");

/** The passages that answer a question: {query, source, by, language}. */
export const fetchSearch = (asked, signal) =>
  call("v1/search", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(asked),
    signal,
  });
