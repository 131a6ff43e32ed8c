/** The page that searches: a moment after the last key the question is asked, and the passages become its list. */

import { byId, el, plural } from "./dom.js";
import { Problems } from "./problems.js";
import { fetchSearch, fetchStore } from "./server.js";

const QUIET = 200; // milliseconds after the last key
const LANGUAGES_SHOWN = 16;

const names = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });
const chosen = new Set();
const question = byId("question");
const problems = new Problems({ retry: start, task: { complain: () => {} } });

let known = false; // what the store holds
let languages = []; // of the store, most frequent first
let timer = null;
let running = new AbortController();

function tongue(code) {
  try {
    return code ? names.of(code) : "unknown";
  } catch {
    return code;
  }
}

const busy = (whether) => byId("results").setAttribute("aria-busy", String(whether));

function changed() {
  clearTimeout(timer);
  running.abort();
  busy(true);
  timer = setTimeout(start, QUIET);
}

/** Ask the server what is in the box now; an earlier question that is still open is dropped. */
async function start() {
  clearTimeout(timer);
  running.abort();
  const mine = (running = new AbortController());
  busy(true);
  try {
    if (!known) await meet();
    const asked = read();
    remember(asked);
    if (!asked.query) return nothingAsked();
    show(await fetchSearch(asked, mine.signal));
    problems.clear();
  } catch (problem) {
    if (problem.name === "AbortError" || mine.signal.aborted) return;
    if (!("status" in problem)) throw problem;
    byId("status").textContent = "Not searched.";
    byId("hits").classList.add("outdated");
    problems.show(problem);
  } finally {
    if (!mine.signal.aborted) busy(false);
  }
}

function read() {
  return {
    query: question.value.trim(),
    source: byId("source").value.trim() || null,
    hybrid: byId("hybrid").checked,
    language: chosen.size ? [...chosen] : null,
  };
}

/** The question stays in the address, behind the # sign, where no server sees it. */
function remember({ query, source, hybrid, language }) {
  const parts = new URLSearchParams();
  if (query) parts.set("q", query);
  if (source) parts.set("source", source);
  if (hybrid) parts.set("hybrid", "1");
  if (language) parts.set("in", language.join(","));
  history.replaceState(null, "", parts.size ? `#${parts}` : location.pathname + location.search);
}

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  question.value = parts.get("q") ?? "";
  byId("source").value = parts.get("source") ?? "";
  byId("hybrid").checked = parts.has("hybrid");
  chosen.clear();
  for (const code of (parts.get("in") ?? "").split(",")) if (code) chosen.add(code);
}

/** Learn what the store holds, once. */
async function meet() {
  const store = await fetchStore();
  byId("model").textContent = `${plural(store.passages, "passage")} · ${store.model}`;
  const counted = Object.entries(store.languages).filter(([code]) => code);
  languages = counted.map(([code]) => tongue(code));
  byId("languages").replaceChildren(
    ...counted.slice(0, LANGUAGES_SHOWN).map(([code, count]) => {
      const chip = el(
        "button",
        { type: "button", class: "chip", "data-code": code, "aria-pressed": String(chosen.has(code)) },
        `${tongue(code)} ${count.toLocaleString("en")}`,
      );
      chip.addEventListener("click", () => {
        if (!chosen.delete(code)) chosen.add(code);
        chip.setAttribute("aria-pressed", String(chosen.has(code)));
        start();
      });
      return chip;
    }),
  );
  known = true;
}

function nothingAsked() {
  problems.clear();
  byId("status").textContent = "Ask something; the answer may be in another language.";
  byId("hits").replaceChildren();
}

function show(reply) {
  const hits = byId("hits");
  hits.classList.remove("outdated");
  hits.replaceChildren(...reply.hits.map((hit) => view(hit, reply.language)));
  const found = reply.hits.length ? plural(reply.hits.length, "passage") : "Nothing found";
  const more = reply.left_out ? ` ${plural(reply.left_out, "more passage")} had no room in the reply.` : "";
  const there = reply.hits.length || more ? "" : ` There are passages in ${languages.join(", ") || "no language"}.`;
  byId("status").textContent = `${found} in ${Math.round(reply.total_ms)} ms.${more}${there}`;
}

function view(hit, asked) {
  const [start, end] = hit.best ?? [0, 0];
  // Characters as the server counts them, not UTF-16 units.
  const characters = Array.from(hit.text);
  const part = (from, to) => characters.slice(from, to).join("");
  const other = hit.language !== asked && hit.language !== "" && asked !== "";
  return el(
    "li",
    { class: "hit" },
    el(
      "header",
      {},
      el("h3", { dir: "auto" }, hit.title || hit.source.split("/").at(-1)),
      el(
        "span",
        { class: `tongue${other ? " other" : ""}` },
        other ? `${tongue(hit.language)}, another language` : tongue(hit.language),
      ),
      el("span", { class: "score soft", title: "Only the order means something." }, hit.score.toFixed(3)),
    ),
    el("p", { dir: "auto", lang: hit.language || null }, part(0, start), el("mark", {}, part(start, end)), part(end)),
    el("span", { class: "place soft" }, hit.place),
  );
}

for (const id of ["question", "source"]) {
  byId(id).addEventListener("input", (event) => event.isComposing || changed());
  byId(id).addEventListener("compositionend", changed);
}
byId("hybrid").addEventListener("change", start);
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
addEventListener("hashchange", () => {
  recall();
  known = false;
  start();
});
recall();
start();
