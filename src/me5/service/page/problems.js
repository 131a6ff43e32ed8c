/** What went wrong, told kindly, with the way on; nothing that was typed is touched. */

import { byId, plural } from "./dom.js";
import { apiKey, setApiKey } from "./server.js";

/** The server's message for people: it names fields as programs write them. */
function sentence(message) {
  const text = message.replaceAll("`", "");
  return text && text[0].toUpperCase() + text.slice(1) + (/[.!?。]$/u.test(text) ? "" : ".");
}

/** The words for a failed request. */
function told({ status, message, wait }) {
  const again = wait ? ` Trying again in ${plural(wait, "second")}.` : "";
  const said = sentence(message);
  if (status === 0) return "The server does not answer. Your texts are still here.";
  if (status === 413) return `This is more than the server takes at once. ${said || "Take out some texts, or shorten them."}`;
  if (status === 429) return `The server has more work than it can take just now.${again || " Try again in a moment."}`;
  if (status === 502 || status === 503 || status === 504) return `The server is not ready. ${said}${again}`;
  if (status >= 500) return `Something broke in the server, not in your texts. ${said}`;
  return said || `The server answered with status ${status}, and did not say why.`;
}

export class Problems {
  #timer = null;

  /** `retry()` asks the server once more; `task` takes the complaints about the task. */
  constructor({ retry, task }) {
    Object.assign(this, { retry, task });
    byId("retry").addEventListener("click", () => this.#again());
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      setApiKey(byId("key-input").value.trim());
      byId("key-input").value = "";
      this.#again();
    });
  }

  show(problem) {
    this.clear();
    if (problem.status === 401 || problem.status === 403) {
      this.#askForKey();
    } else if (problem.param === "task") {
      this.task.complain(sentence(problem.message));
    } else {
      byId("problem-text").textContent = told(problem);
      byId("problem").hidden = false;
      if (problem.wait) this.#count(problem.wait);
    }
  }

  clear() {
    clearInterval(this.#timer);
    byId("retry").textContent = "Try again";
    byId("problem").hidden = byId("key").hidden = true;
    byId("problem-text").textContent = "";
    this.task.complain("");
  }

  #askForKey() {
    const last = apiKey() ? "It did not accept the last one. " : "";
    byId("key-why").textContent = `${last}Whoever runs it can give you one.`;
    byId("key").hidden = false;
    // Never while someone types: the next letters would go to the wrong place.
    if (!document.activeElement?.matches("textarea, input, select")) byId("key-input").focus();
  }

  #count(seconds) {
    const end = Date.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((end - Date.now()) / 1000);
      if (left <= 0) return this.#again();
      byId("retry").textContent = `Try now (${left})`;
    };
    tick();
    this.#timer = setInterval(tick, 250);
  }

  #again() {
    clearInterval(this.#timer);
    this.retry();
  }
}
