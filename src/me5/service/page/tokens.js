/** The exact text that the model reads, with its tokens marked in place; or its pieces with their ids. */

import { badge, el, plural, ref } from "./dom.js";

// Texts shown at once; the rest come on demand.
const FIRST = 16;

export function tokenViews(texts, asPieces) {
  const views = (list) => list.map((text) => view(text, asPieces));
  const shown = views(texts.slice(0, FIRST));
  if (texts.length <= FIRST) return shown;
  const more = el("button", { type: "button", class: "quiet" }, `Show the other ${texts.length - FIRST}`);
  more.addEventListener("click", () => {
    const box = more.parentElement;
    more.replaceWith(...views(texts.slice(FIRST)));
    settle(box);
  });
  return [...shown, more];
}

function view(text, asPieces) {
  const name = `${text.side} ${text.index + 1}`;
  const body = el("div", {
    class: asPieces ? "reading as-pieces" : "reading", dir: "auto", role: "group",
    "aria-label": `What the model reads of ${name}`,
  });
  body.append(...(asPieces ? pieces(text) : inPlace(text)));
  return el(
    "article",
    { class: "text", "data-ref": ref(text.side, text.index) },
    el("header", {}, badge(text.side, text.index), el("span", { class: "unseen" }, name), counts(text)),
    body,
  );
}

/** Let the views that are longer than their frames, at the present width, be scrolled by key. */
export function reachable(views) {
  for (const body of views.querySelectorAll(".reading")) {
    if (body.scrollHeight > body.clientHeight) body.tabIndex = 0;
    else body.removeAttribute("tabindex");
  }
}

/** Make views of texts that were cut open at the place where they were. */
export function settle(views) {
  reachable(views);
  for (const body of views.querySelectorAll(".reading")) {
    const lost = body.querySelectorAll("s");
    if (!lost.length) continue;
    const fromStart = lost[0].previousElementSibling?.matches(".special, .prompt") ?? true;
    const edge = fromStart ? lost[lost.length - 1] : lost[0];
    body.scrollTop = edge.offsetTop - body.clientHeight / 2;
  }
}

function counts(text) {
  const count = (test) => text.tokens.filter(test).length;
  const prompt = count((token) => token.prompt);
  const special = count((token) => token.special);
  const parts = [plural(text.token_count, "token")];
  if (prompt) parts.push(`${prompt} of the prompt`);
  if (special) parts.push(`${special} special`);
  const line = el("span", { class: "soft" }, parts.join(" · "));
  if (text.lost) line.append(" · ", el("strong", { class: "lost-count" }, `${plural(text.lost, "token")} not read`));
  return line;
}

const kind = (token) => (token.special ? "special" : token.lost ? "lost" : token.prompt ? "prompt" : "");
const told = (token) => `${token.piece} · ${token.id}`;
const element = (token) => (token.lost ? "s" : "span");

/** Where tokens lie is counted in code points; strings here in UTF-16 units. */
function unitsOf(text) {
  if (!/[\ud800-\udfff]/u.test(text) && !/[\u{10000}-\u{10ffff}]/u.test(text)) return (at) => at;
  const units = [0];
  for (const character of text) units.push(units.at(-1) + character.length);
  return (at) => units[at] ?? text.length;
}

/** The text in full, character for character, each token in an element of its own. */
function inPlace({ text, tokens }) {
  const units = unitsOf(text);
  const nodes = [];
  let at = 0;
  let odd = false;
  for (const token of tokens) {
    if (token.start === null) {
      // The mark is drawn by the style sheet: it is no part of the text.
      nodes.push(el("span", { class: "tok special", "data-piece": token.piece, title: told(token) }));
      continue;
    }
    const start = Math.max(at, units(token.start));
    const end = Math.max(start, units(token.end));
    nodes.push(...lines(text.slice(at, start)));
    odd = !odd;
    // Several tokens may stand for one character: the later ones cover no text of their own.
    const shape = end > start ? (odd ? "a" : "b") : "none";
    const properties = { class: `tok ${kind(token)} ${shape}`, title: told(token) };
    nodes.push(el(element(token), properties, ...lines(text.slice(start, end))));
    at = end;
  }
  return [...nodes, ...lines(text.slice(at))];
}

/** Text with a visible mark at its line breaks. */
function lines(text) {
  return text.split(/(\n)/u).filter(Boolean).map((part) => (part === "\n" ? el("span", { class: "break" }, part) : part));
}

function pieces({ tokens }) {
  return tokens.map((token) =>
    el(element(token), { class: `piece ${kind(token)}` }, el("bdi", {}, token.piece), el("small", {}, String(token.id))),
  );
}
