/** The vectors as points in the plane: queries as discs, documents as squares, a line from each query to its best. */

import { clip, plural, ref } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { x: 28, y: 26 };
const LINE = 16;
// More points than this are drawn smaller.
const ROOMY = 30;

function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Draw into `box`, at its present width. */
export function drawMap(box, reply, state) {
  const width = Math.max(240, box.clientWidth);
  const height = Math.round(Math.min(400, Math.max(260, width * 0.5)));
  const points = placed(reply.map, width, height).map((point) => ({ ...point, text: textOf(point, state) }));
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.font = `13px ${getComputedStyle(box).fontFamily}`;
  const labels = labelled(points, (text) => canvas.measureText(text).width, width, height);
  const svg = draw("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `Map of ${plural(state.queries.length, "query", "queries")} (discs) and ` +
      `${plural(state.documents.length, "document")} (squares); ` +
      "texts of like meaning lie close together. The table of scores says the same in numbers.",
  });
  svg.append(...bestLines(points, reply.ranking), ...labels, ...points.map((point) => mark(point, points.length > ROOMY ? 7 : 10)));
  box.replaceChildren(svg);
}

const textOf = ({ side, index }, state) => (side === "query" ? state.queries : state.documents)[index] ?? "";

/** Points on the screen, at one scale for both axes, so that distances stay true. */
function placed(map, width, height) {
  const range = (values) => [Math.min(...values), Math.max(...values)];
  const [left, right] = range(map.map((point) => point.x));
  const [low, high] = range(map.map((point) => point.y));
  // Room for labels at both sides.
  const inner = { width: width - 2 * MARGIN.x - Math.min(260, width * 0.3), height: height - 2 * MARGIN.y };
  const scale = Math.min(inner.width / (right - left || 1e-9), inner.height / (high - low || 1e-9), 1e6);
  return map.map(({ side, index, x, y }) => ({
    side,
    index,
    x: width / 2 + (x - (left + right) / 2) * scale,
    y: height / 2 - (y - (low + high) / 2) * scale,
  }));
}

function bestLines(points, ranking) {
  const at = new Map(points.map((point) => [ref(point.side, point.index), point]));
  return ranking.flatMap((order, index) => {
    const from = at.get(ref("query", index));
    const to = at.get(ref("document", order[0]));
    if (!from || !to) return [];
    return [draw("line", { class: "to-best", x1: from.x, y1: from.y, x2: to.x, y2: to.y, "data-ref": ref("query", index) })];
  });
}

function mark({ side, index, x, y, text }, radius) {
  const half = radius - 1;
  const shape =
    side === "query"
      ? draw("circle", { cx: x, cy: y, r: radius })
      : draw("rect", { x: x - half, y: y - half, width: 2 * half, height: 2 * half, rx: 3 });
  const number = draw("text", { x, y: y + radius * 0.4, class: "number" }, String(index + 1));
  const title = draw("title", {}, text);
  return draw("g", { class: `point ${side}${radius < 10 ? " small" : ""}`, "data-ref": ref(side, index) }, title, shape, number);
}

/** Labels beside the points where there is room for them: right, left, below, above; else none. */
function labelled(points, measure, width, height) {
  const taken = points.map(({ x, y }) => ({ left: x - 10, right: x + 10, top: y - 10, bottom: y + 10 }));
  const labels = [];
  for (const { side, index, x, y, text } of points) {
    for (const length of [26, 16]) {
      const label = clip(text, length);
      const wide = measure(label);
      const spots = [
        { left: x + 14, top: y - LINE / 2 },
        { left: x - 14 - wide, top: y - LINE / 2 },
        { left: x - wide / 2, top: y + 11 },
        { left: x - wide / 2, top: y - 11 - LINE },
      ].map((spot) => ({ ...spot, right: spot.left + wide, bottom: spot.top + LINE }));
      const free = spots.find((spot) => fits(spot, width, height) && !taken.some((other) => overlap(spot, other)));
      if (!free) continue;
      taken.push(free);
      const node = draw("text", { x: free.left, y: free.top + 12, class: "label", "data-ref": ref(side, index) });
      // Isolated, so that a right-to-left label reads right and still begins where it was placed.
      node.textContent = `\u2068${label}\u2069`;
      labels.push(node);
      break;
    }
  }
  return labels;
}

const fits = (spot, width, height) => spot.left >= 2 && spot.right <= width - 2 && spot.top >= 2 && spot.bottom <= height - 2;
const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
