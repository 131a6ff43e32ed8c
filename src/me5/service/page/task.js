/** The choice of the task: a name from the server's list, or a sentence of one's own. */

import { byId, el } from "./dom.js";

const OWN = "\u0000own";

export class TaskChoice {
  #tasks = [];
  #default = "";
  #own = true; // whether the model takes a sentence of one's own

  constructor(changed) {
    this.select = byId("task");
    this.own = byId("own");
    // Until the server has told its tasks, whatever an example or a link holds is kept as a sentence.
    this.select.append(el("option", { value: OWN }));
    this.select.addEventListener("change", () => {
      this.#show();
      if (this.select.value === OWN) this.own.focus();
      changed();
    });
    this.own.addEventListener("input", (event) => event.isComposing || changed());
    this.own.addEventListener("compositionend", changed);
    this.own.addEventListener("blur", () => this.own.value.trim() && changed());
  }

  /** Offer what the server knows: {default, style, tasks: [{name, sentence}]}. */
  offer(known) {
    const value = this.value;
    this.#tasks = known.tasks;
    this.#default = known.tasks.find((task) => [task.name, task.sentence].includes(known.default))?.name ?? "";
    const options = known.tasks.map(({ name }) =>
      el("option", { value: name }, name === this.#default ? `${name} (default)` : name),
    );
    if (!this.#default) options.unshift(el("option", { value: "" }, "the model's own prompt"));
    this.#own = known.style === "instruct";
    if (this.#own) options.push(el("option", { value: OWN }, "a sentence of my own…"));
    this.select.replaceChildren(...options);
    byId("task-field").classList.add("known");
    byId("task-field").hidden = options.length < 2;
    this.value = value;
  }

  /** What to send; null is the default. */
  get value() {
    const value = this.select.value === OWN ? this.own.value.trim() : this.select.value;
    return value && value !== this.#default ? value : null;
  }

  /** A task of which this model knows nothing, as an example or a link may hold, is left out. */
  set value(value) {
    const known = value === null ? this.#default : this.#tasks.find(({ name }) => name === value)?.name;
    const own = known === undefined && this.#own;
    this.own.value = own ? value : "";
    this.select.value = own ? OWN : (known ?? this.#default);
    this.#show();
  }

  /** A sentence that is being typed, of which there is one word so far. */
  get unfinished() {
    return this.select.value === OWN && document.activeElement === this.own && !/\s\S/u.test(this.own.value);
  }

  /** Say what is wrong with the task, at the task; an empty text takes it back. */
  complain(message) {
    const asked = this.select.value === OWN ? this.own : this.select;
    for (const field of [this.select, this.own]) {
      const wrong = message !== "" && field === asked;
      field.setAttribute("aria-invalid", String(wrong));
      field.setAttribute("aria-describedby", wrong ? "task-error" : "sentence");
    }
    byId("task-error").hidden = !message;
    byId("task-error").textContent = message;
  }

  #show() {
    this.own.hidden = this.select.value !== OWN;
    byId("sentence").textContent = this.#tasks.find(({ name }) => name === this.select.value)?.sentence ?? "";
  }
}
