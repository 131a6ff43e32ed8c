/** What the page asks: texts, task and truncation. It lives in the address after #, which no server ever sees. */

/** A state from what a link held; null where that is no state. */
function checked(value) {
  const texts = [value?.q, value?.d];
  if (!texts.every((list) => Array.isArray(list) && list.every((text) => typeof text === "string"))) return null;
  return {
    queries: value.q,
    documents: value.d,
    task: typeof value.t === "string" ? value.t : null,
    truncation: ["end", "start", "chunk", "error"].includes(value.x) ? value.x : null,
  };
}

export function toFragment({ queries, documents, task, truncation }) {
  const short = { q: queries, d: documents, t: task ?? undefined, x: truncation ?? undefined };
  const bytes = new TextEncoder().encode(JSON.stringify(short));
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return `#${btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/u, "")}`;
}

/** The state in a fragment, or null when there is none, or it is broken. */
export function fromFragment(fragment) {
  try {
    const binary = atob(fragment.slice(1).replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    return checked(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
  } catch {
    return null;
  }
}
