/** The page that searches: a moment after the last key the question is asked, and the passages become its list. */

import { byId, el, plural } from "./dom.js";
import { Problems } from "./problems.js";
import { fetchSearch, fetchStore } from "./server.js";

const QUIET = 200; // milliseconds after the last key
const LANGUAGES_SHOWN = 16;
const COPIES_SHOWN = 3;
const FITS = 0.5; // the least probability of what probably fits

const names = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });
const chosen = new Set();
const question = byId("question");
const problems = new Problems({ retry: start, task: { complain: () => {} } });

let known = false; // what the store holds
let counted = []; // its languages, with their passages
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

/** The address of a source that is a page of the web; null for files, and for anything else that a browser might run. */
function address(source) {
  if (!/^https?:\/\//iu.test(source) || !URL.canParse(source)) return null;
  return new URL(source).href;
}

/** Words for a place, as a link where it is a page of the web. */
function linked(words, source) {
  const href = address(source);
  return href ? el("a", { href, rel: "noreferrer" }, words) : words;
}

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
    show(await fetchSearch(asked, mine.signal), asked);
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
  const fitting = byId("fitting").checked && byId("by").value !== "words";
  return {
    min_probability: fitting ? FITS : null,
    query: question.value.trim(),
    source: byId("source").value.trim() || null,
    by: byId("by").value,
    group: byId("group").checked ? "document" : null,
    language: chosen.size ? [...chosen] : null,
  };
}

/** The question stays in the address, behind the # sign, where no server sees it. */
function remember({ min_probability, query, source, by, group, language }) {
  const parts = new URLSearchParams();
  if (query) parts.set("q", query);
  if (source) parts.set("source", source);
  if (min_probability) parts.set("fits", "1");
  if (by !== "both") parts.set("by", by);
  if (group) parts.set("group", group);
  if (language) parts.set("in", language.join(","));
  history.replaceState(null, "", parts.size ? `#${parts}` : location.pathname + location.search);
}

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  question.value = parts.get("q") ?? "";
  byId("source").value = parts.get("source") ?? "";
  byId("by").value = ["vectors", "words"].find((by) => by === parts.get("by")) ?? "both";
  byId("fitting").checked = parts.has("fits");
  byId("group").checked = parts.get("group") === "document";
  chosen.clear();
  for (const code of (parts.get("in") ?? "").split(",")) if (code) chosen.add(code);
}

/** What to try where nothing was found: which filters were set, and which languages there are. */
function advice() {
  const filters = [chosen.size && "the languages", byId("source").value.trim() && "the source"].filter(Boolean);
  const open = filters.length ? ` Nothing fits ${filters.join(" and ")} that you chose.` : "";
  const there = counted.slice(0, LANGUAGES_SHOWN).map(([code, count]) => `${tongue(code)} (${count.toLocaleString("en")})`);
  const rest = counted.length - there.length;
  if (rest > 0) there.push(plural(rest, "more language"));
  return `${open}${there.length ? ` There are passages in ${there.join(", ")}.` : ""}`;
}

/** Learn what the store holds, once. */
async function meet() {
  const store = await fetchStore();
  byId("model").textContent = `${plural(store.passages, "passage")} · ${store.model}`;
  counted = Object.entries(store.languages).filter(([code]) => code);
  // One that was chosen is shown in any case: it could not be given up otherwise.
  const offered = counted.slice(0, LANGUAGES_SHOWN);
  for (const code of chosen) {
    if (!offered.some(([shown]) => shown === code)) offered.push([code, store.languages[code] ?? 0]);
  }
  byId("languages").replaceChildren(
    ...offered.map(([code, count]) => {
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
  // Without a calibration there are no probabilities.
  byId("fitting").closest("label").hidden = !store.calibrated;
  if (!store.calibrated) byId("fitting").checked = false;
  known = true;
}

function nothingAsked() {
  problems.clear();
  byId("status").textContent = "Ask something; the answer may be in another language.";
  byId("hits").replaceChildren();
}

function show(reply, { min_probability }) {
  const hits = byId("hits");
  hits.classList.remove("outdated");
  hits.replaceChildren(...reply.hits.map((hit) => view(hit, reply.language)));
  const found = reply.hits.length ? plural(reply.hits.length, "passage") : min_probability ? "Nothing here fits" : "Nothing found";
  const more = reply.left_out ? ` ${plural(reply.left_out, "more passage")} had no room in the reply.` : "";
  const nearest = " Without “only what probably fits” you see what is nearest.";
  const there = reply.hits.length || more ? "" : min_probability ? nearest : advice();
  byId("status").textContent = `${found} in ${Math.round(reply.total_ms)} ms.${more}${there}`;
}

function view(hit, asked) {
  const [start, end] = hit.best ?? [0, 0];
  // Characters as the server counts them, not UTF-16 units.
  const characters = Array.from(hit.text);
  const part = (from, to) => characters.slice(from, to).join("");
  const other = hit.language !== asked && hit.language !== "" && asked !== "";
  const title = hit.title || hit.source.split("/").findLast(Boolean) || hit.source;
  return el(
    "li",
    { class: "hit" },
    el(
      "header",
      {},
      el("h3", { dir: "auto" }, linked(title, hit.source)),
      ...meaning(hit),
      el("span", { class: "score soft", title: "Only the order means something." }, hit.score.toFixed(3)),
    ),
    el("p", { dir: "auto", lang: hit.language || null }, part(0, start), el("mark", {}, part(start, end)), part(end)),
    el(
      "footer",
      { class: "soft" },
      el(
        "span",
        { class: `tongue${other ? " other" : ""}` },
        other ? `${tongue(hit.language)}, another language` : tongue(hit.language),
      ),
      el("span", { class: "place" }, hit.place),
      ...copies(hit.also),
    ),
  );
}

/** How probable a passage is, or else where it lies among random pairs; nothing where nobody knows. */
function meaning({ probability, percentile }) {
  if (probability !== null) {
    const title = "How probably this answers the question, by the calibration of the store or its model.";
    return [el("span", { class: "probability", title }, `${Math.round(100 * probability)} %`)];
  }
  if (percentile === null) return [];
  return [el("span", { class: "probability soft" }, `above ${Number(percentile.toFixed(2))} % of random pairs`)];
}

/** Where the same passage stands as well: the first few places, and how many more there are. */
function copies(also) {
  if (!also.length) return [];
  const places = also.slice(0, COPIES_SHOWN).flatMap(({ source, place }, at) => [at ? "; " : "", linked(place, source)]);
  const more = also.length > COPIES_SHOWN ? ` and ${plural(also.length - COPIES_SHOWN, "more place")}` : "";
  return [el("span", { class: "also" }, "Also in ", ...places, more)];
}

for (const id of ["question", "source"]) {
  byId(id).addEventListener("input", (event) => event.isComposing || changed());
  byId(id).addEventListener("compositionend", changed);
}
for (const id of ["by", "group", "fitting"]) byId(id).addEventListener("change", start);
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
