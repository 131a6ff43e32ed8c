/** The page: what is typed becomes a request a moment later, and its answer becomes the results. */

import { byId, el, plural } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { drawMap } from "./map.js";
import { Problems } from "./problems.js";
import { Rows } from "./rows.js";
import { heatMap, rankedLists, summary } from "./scores.js";
import { apiKey, base, fetchModels, fetchScore, fetchTasks, setApiKey } from "./server.js";
import { fromFragment, toFragment } from "./state.js";
import { CodeTabs, copied } from "./tabs.js";
import { TaskChoice } from "./task.js";
import { reachable, settle, tokenViews } from "./tokens.js";

// Milliseconds of quiet after the last key; a server that takes longer is given longer.
const QUIET = 250;
const QUIET_AT_MOST = 2000;
// Characters; browsers take 2 million and more, chats and mail programs far fewer.
const LINK_AT_MOST = 32_000;

const lists = {};
for (const [name, side] of [["queries", "query"], ["documents", "document"]]) {
  lists[name] = new Rows(byId(name), side, { changed, notify });
}
const task = new TaskChoice(changed);
const problems = new Problems({ retry: start, task });
const codeTabs = new CodeTabs(notify);
const truncation = byId("truncation");

let model = ""; // the name under which it is served
let known = false; // the server's model and tasks
let shown = null; // the last answer, with the state that it answers
let quiet = QUIET;
let timer = null;
let running = new AbortController();

function read() {
  const texts = { queries: lists.queries.texts, documents: lists.documents.texts };
  return { ...texts, task: task.value, truncation: truncation.value || null };
}

function fill(state) {
  lists.queries.texts = state.queries;
  lists.documents.texts = state.documents;
  task.value = state.task;
  truncation.value = state.truncation ?? "";
}

/** Keep the state in the browser's history, and in the address if it is short enough; whether it was. */
function remember(state) {
  const fragment = toFragment(state);
  const fits = fragment.length <= LINK_AT_MOST;
  history.replaceState(state, "", fits ? fragment : location.pathname + location.search);
  return fits;
}

const remembered = () => history.state ?? fromFragment(location.hash);

/** Busy from the first key on: until the answer comes, the results are not those of the texts. */
const busy = (whether) => byId("results").setAttribute("aria-busy", String(whether));

function changed() {
  clearTimeout(timer);
  running.abort();
  timer = setTimeout(() => (task.unfinished ? pause() : start()), quiet);
  busy(true);
}

/** Ask the server about what is on the page now; a question that is still open is dropped. */
async function start() {
  clearTimeout(timer);
  running.abort();
  const mine = (running = new AbortController());
  busy(true);
  try {
    if (!known) await meet();
    const state = read();
    remember(state);
    if (!state.queries.length || !state.documents.length) return wanting(state);
    showPrograms(state);
    const reply = await fetchScore(state, mine.signal);
    problems.clear();
    show(reply, state);
  } catch (problem) {
    if (problem.name === "AbortError" || mine.signal.aborted) return;
    if (!("status" in problem)) throw problem;
    outdated("Not scored.");
    problems.show(problem);
  } finally {
    if (!mine.signal.aborted) busy(false);
  }
}

/** Learn the server's model and tasks, once. */
async function meet() {
  const [tasks, models] = await Promise.all([fetchTasks(), fetchModels()]);
  task.offer(tasks);
  model = models.data[0].id;
  known = true;
}

function wanting(state) {
  problems.clear();
  const missing = !state.queries.length ? (state.documents.length ? "a query" : "a query and a document") : "a document";
  outdated(`Add ${missing} to see scores.`);
  byId("empty").hidden = shown !== null;
  byId("code").hidden = true;
}

/** A task of one word is a sentence on its way: asking would only bring a complaint. */
function pause() {
  busy(false);
  problems.clear();
  outdated("Waiting for the rest of the task; Enter sends it as it is.");
}

/** The results on show belong to an earlier question. */
function outdated(status) {
  byId("status").textContent = status;
  byId("answer").classList.add("outdated");
}

function show(reply, state) {
  shown = { reply, state };
  quiet = Math.min(QUIET_AT_MOST, Math.max(QUIET, reply.roundTrip));
  byId("model").textContent = `${reply.model} · ${reply.precision}`;
  byId("keyed").hidden = apiKey() === "";
  byId("empty").hidden = true;
  byId("answer").hidden = false;
  byId("answer").classList.remove("outdated");
  const { size, best } = summary(reply, state);
  byId("status").replaceChildren(`${size} in ${milliseconds(reply.roundTrip)}. `, el("span", { class: "unseen" }, best));
  const { truncated, tokens_lost: lost } = reply.usage;
  byId("cut").hidden = !truncated;
  byId("cut").textContent =
    `${plural(truncated, "text")} cut: ${plural(lost, "token")} ${lost === 1 ? "was" : "were"} not read.`;
  byId("heat").replaceChildren(...heatMap(reply, state));
  byId("ranking").replaceChildren(...rankedLists(reply, state));
  showTokens();
  showTimings(reply);
  drawMap(byId("map"), reply, state);
}

function showTokens() {
  const { texts, prompt, usage } = shown.reply;
  byId("tokens").replaceChildren(...tokenViews(texts, byId("pieces").checked));
  byId("legend").classList.toggle("prompt", prompt.query + prompt.document !== "");
  byId("legend").classList.toggle("lost", usage.truncated > 0);
  settle(byId("tokens"));
}

const milliseconds = (value) => `${value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 })} ms`;

function showTimings({ timings, usage, roundTrip }) {
  const rows = [
    ["tokenization", milliseconds(timings.tokenization_ms)],
    ["in the queue", milliseconds(timings.queue_ms)],
    ["the model", milliseconds(timings.inference_ms)],
    ["server in all", milliseconds(timings.total_ms)],
    ["there and back", milliseconds(roundTrip)],
    ["tokens", usage.total_tokens.toLocaleString("en")],
  ];
  byId("timings").replaceChildren(...rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function showPrograms(state) {
  byId("code").hidden = false;
  codeTabs.show({ state, model, base, keyed: apiKey() !== "" });
}

/** Say what was done, with a way back: `action` names it, `undo` takes it. */
function notify(text, action = null, undo = null) {
  const toast = byId("toast");
  const parts = [el("span", {}, text)];
  if (action) {
    const button = el("button", { type: "button", class: "quiet" }, action);
    button.addEventListener("click", () => {
      toast.replaceChildren();
      undo();
    });
    parts.push(button);
  }
  const close = el("button", { type: "button", class: "quiet", "aria-label": "Dismiss" }, "×");
  close.addEventListener("click", () => toast.replaceChildren());
  toast.replaceChildren(...parts, close);
}

function offerExamples() {
  for (const example of EXAMPLES) {
    const button = el("button", { type: "button", class: "chip" }, el("bdi", {}, example.name));
    button.addEventListener("click", () => {
      // A step of its own in the browser's history: Back returns to what was typed.
      remember(read());
      history.pushState(example, "", toFragment(example));
      fill(example);
      start();
      notify("Example loaded.", "Back to my texts", () => history.back());
    });
    byId("examples").append(button);
  }
}

/** Texts that belong together light up together, wherever they stand. */
function linkTexts() {
  const light = (event) => {
    const refs = event.target.closest?.("[data-ref]")?.dataset.ref.split(" ") ?? [];
    document.querySelectorAll(".linked").forEach((node) => node.classList.remove("linked"));
    for (const one of refs) {
      document.querySelectorAll(`[data-ref~="${one}"]`).forEach((node) => node.classList.add("linked"));
    }
  };
  document.addEventListener("pointerover", light);
  document.addEventListener("focusin", light);
}

function listen() {
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
    // On a narrow screen the results lie below the texts.
    if (event.submitter && byId("results").offsetTop > byId("form").offsetTop + 100) byId("results").scrollIntoView();
  });
  // What is written after a step is not undone with it.
  document.addEventListener("input", () => byId("toast").replaceChildren());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) start();
  });
  document.querySelectorAll("[data-add]").forEach((button) => {
    button.addEventListener("click", () => lists[button.dataset.add].add());
  });
  truncation.addEventListener("change", start);
  byId("pieces").addEventListener("change", () => shown && showTokens());
  byId("forget").addEventListener("click", () => {
    setApiKey("");
    byId("keyed").hidden = true;
    start();
  });
  byId("share").addEventListener("click", async () => {
    if (!remember(read())) return notify("These texts are too long for a link.");
    notify((await copied(location.href)) ? "Link copied." : "Copy the link from the address bar.");
  });
  const load = () => {
    const state = remembered();
    if (state && toFragment(state) !== toFragment(read())) {
      fill(state);
      start();
    }
  };
  addEventListener("popstate", load);
  addEventListener("hashchange", load);
  new ResizeObserver(() => {
    if (!shown) return;
    drawMap(byId("map"), shown.reply, shown.state);
    reachable(byId("tokens"));
  }).observe(byId("map"));
}

if (/Mac|iPhone|iPad/u.test(navigator.platform)) byId("control").textContent = "⌘";
offerExamples();
linkTexts();
listen();
fill(remembered() ?? EXAMPLES[0]);
if (location.hash.length > 1 && !remembered()) notify("The link was cut short, so here is an example.");
start();
