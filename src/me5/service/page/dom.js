/** Small tools for elements. Text only ever becomes text nodes: nothing on this page is parsed as HTML. */

export const byId = (id) => document.getElementById(id);

/** An element with attributes (null or false leaves one out) and children: nodes or strings. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** The mark of a query (a disc) or a document (a square), with its number. */
export function badge(side, index) {
  return el("span", { class: `badge ${side}`, "aria-hidden": true }, String(index + 1));
}

/** How texts that belong together find each other across the page: q0, d3. */
export const ref = (side, index) => `${side[0]}${index}`;

export const plural = (count, word, many = `${word}s`) => `${count.toLocaleString("en")} ${count === 1 ? word : many}`;

const segmenter = globalThis.Intl?.Segmenter ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

/** The text on one line, cut between what a reader takes for characters. */
export function clip(text, limit) {
  const line = text.slice(0, limit * 12).replace(/\s+/gu, " ").trim();
  const characters = segmenter ? Array.from(segmenter.segment(line), (part) => part.segment) : Array.from(line);
  return characters.length <= limit ? line : `${characters.slice(0, limit - 1).join("")}…`;
}
