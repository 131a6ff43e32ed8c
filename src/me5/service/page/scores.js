/** Scores as a heat map with ranks, and as a ranked list per query. */

import { badge, el, plural, ref } from "./dom.js";

// More rows or columns than this help nobody; the ranked lists cover all documents.
const MOST = 100;
const SHADES = 8;
const LISTED = 5;
// Documents beside each other whose texts have room above their columns.
const NAMED = 6;

/** Where a score lies between the lowest (0) and the highest (1) of its row: only the order in a row has a meaning. */
function place(score, row) {
  const low = Math.min(...row);
  const high = Math.max(...row);
  return high > low ? (score - low) / (high - low) : 1;
}

export function heatMap(reply, state) {
  const documents = state.documents.slice(0, MOST);
  const head = el(
    "tr",
    {},
    el("td", { class: "corner" }),
    ...documents.map((text, index) =>
      el("th", { scope: "col", "data-ref": ref("document", index) }, named("document", index, text)),
    ),
  );
  const rows = state.queries.slice(0, MOST).map((text, index) => {
    const scores = reply.scores[index];
    const ranks = [];
    reply.ranking[index].forEach((at, rank) => (ranks[at] = rank + 1));
    return el(
      "tr",
      {},
      el("th", { scope: "row", "data-ref": ref("query", index) }, named("query", index, text)),
      ...documents.map((_, at) =>
        cell([index, at], scores[at], ranks[at], place(scores[at], scores), reply.probabilities?.[index][at]),
      ),
    );
  });
  const caption = el("caption", { class: "unseen" }, "Scores × 100: a row for each query, a column for each document");
  const dense = documents.length > NAMED ? "dense" : null;
  const table = el("table", { class: dense }, caption, el("thead", {}, head), el("tbody", {}, ...rows));
  table.style.setProperty("--columns", documents.length);
  if (Math.max(state.documents.length, state.queries.length) <= MOST) return [table];
  return [table, el("p", { class: "soft" }, `The first ${MOST} are shown here; the ranking covers all documents.`)];
}

/** A mark and its text, cut by the style sheet; in full to a screen reader and on hover. */
function named(side, index, text) {
  return el(
    "span",
    { class: "named", title: text },
    badge(side, index),
    el("span", { class: "unseen" }, `${side} ${index + 1}: `),
    el("span", { class: "clip", dir: "auto" }, text),
  );
}

function cell([query, document], score, rank, shade, probability) {
  return el(
    "td",
    {
      class: `shade-${Math.round(shade * SHADES)}${rank === 1 ? " best" : ""}`,
      "data-ref": `${ref("query", query)} ${ref("document", document)}`,
    },
    el("span", { class: "score" }, score.toFixed(2)),
    el("small", {}, el("span", { class: "unseen" }, ", rank "), el("span", { "aria-hidden": true }, "#"), String(rank)),
    ...(probability === undefined ? [] : [el("span", { class: "probability" }, `${Math.round(100 * probability)} %`)]),
  );
}

export function rankedLists(reply, state) {
  return state.queries.slice(0, MOST).map((text, index) => {
    const scores = reply.scores[index];
    const items = reply.ranking[index].map((at) => rankedItem(state.documents[at], at, scores));
    const list = el("ol", {}, ...items.slice(0, LISTED));
    const title = el("h4", { "data-ref": ref("query", index) }, named("query", index, text));
    const card = el("article", { class: "card" }, title, list);
    if (items.length > LISTED) {
      const more = el("button", { type: "button", class: "quiet" }, `Show all ${items.length}`);
      more.addEventListener("click", () => {
        list.append(...items.slice(LISTED));
        more.remove();
        items[LISTED].tabIndex = -1;
        items[LISTED].focus();
      });
      card.append(more);
    }
    return card;
  });
}

function rankedItem(text, index, scores) {
  const bar = el("span", { class: "bar", "aria-hidden": true });
  bar.style.setProperty("--share", `${Math.max(1, Math.round(place(scores[index], scores) * 100))}%`);
  return el(
    "li",
    { "data-ref": ref("document", index) },
    named("document", index, text),
    el("span", { class: "score" }, scores[index].toFixed(2)),
    bar,
  );
}

/** What was scored, and for those who listen, what is best for each of the first queries. */
export function summary(reply, state) {
  const best = reply.ranking.slice(0, 5).map((order, index) => `document ${order[0] + 1} for query ${index + 1}`);
  const size = `${plural(state.queries.length, "query", "queries")} × ${plural(state.documents.length, "document")}`;
  return { size, best: `Best: ${best.join(", ")}.` };
}
