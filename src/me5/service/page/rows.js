/** A list of texts that are edited in place, one row each. */

import { el } from "./dom.js";

const GROWS = CSS.supports("field-sizing", "content");

export class Rows {
  /** `changed()` is called after every edit; `notify(text, action, undo)` offers the way back. */
  constructor(list, side, { changed, notify }) {
    Object.assign(this, { list, side, changed, notify });
    list.addEventListener("input", (event) => {
      this.#fit(event.target);
      this.#number();
      // Half-typed characters of an input method are not yet text.
      if (!event.isComposing) this.changed();
    });
    list.addEventListener("compositionend", () => this.changed());
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("paste", (event) => this.#paste(event));
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.#remove(button.closest("li"));
    });
  }

  /** The texts in order, without blank rows. */
  get texts() {
    return this.#boxes.map((box) => box.value).filter((text) => text.trim());
  }

  set texts(texts) {
    this.list.replaceChildren(...(texts.length ? texts : [""]).map((text) => this.#row(text)));
    this.#boxes.forEach((box) => this.#fit(box));
    this.#number();
  }

  /** A blank row behind `row` (null: at the end), ready to type in. */
  add(row = null) {
    const added = this.#row("");
    row ? row.after(added) : this.list.append(added);
    this.#number();
    added.querySelector("textarea").focus();
  }

  get #boxes() {
    return [...this.list.querySelectorAll("textarea")];
  }

  #row(text) {
    const box = el("textarea", {
      rows: 1, dir: "auto", spellcheck: "false", autocapitalize: "off", autocomplete: "off", enterkeyhint: "enter",
      "aria-describedby": "keys", placeholder: `Type or paste a ${this.side}`,
    });
    box.value = text;
    return el(
      "li",
      {},
      el("span", { class: `badge ${this.side}`, "aria-hidden": true }),
      box,
      el("button", { type: "button", class: "quiet remove" }, el("span", { "aria-hidden": true }, "×")),
    );
  }

  /** Count the rows as the server does: blank ones have no number. */
  #number() {
    let number = 0;
    for (const row of this.list.children) {
      const [mark, box, button] = row.children;
      const blank = !box.value.trim();
      const name = blank ? `new ${this.side}` : `${this.side} ${++number}`;
      mark.textContent = blank ? "" : number;
      mark.classList.toggle("blank", blank);
      box.setAttribute("aria-label", name[0].toUpperCase() + name.slice(1));
      button.setAttribute("aria-label", `Remove ${name}`);
      blank ? delete row.dataset.ref : (row.dataset.ref = `${this.side[0]}${number - 1}`);
    }
  }

  #fit(box) {
    if (GROWS) return;
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight + 2}px`;
  }

  #key(event) {
    const box = event.target;
    if (box.tagName !== "TEXTAREA" || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = box.closest("li");
    const at = box.selectionStart === box.selectionEnd ? box.selectionStart : -1;
    if (event.key === "Enter" && !event.shiftKey) {
      this.add(row);
    } else if (event.key === "Backspace" && !box.value && this.list.children.length > 1) {
      this.#step(row, row.previousElementSibling ? -1 : 1);
      row.remove();
      this.#number();
    } else if (event.key === "ArrowUp" && at === 0 && row.previousElementSibling) {
      this.#step(row, -1);
    } else if (event.key === "ArrowDown" && at === box.value.length && row.nextElementSibling) {
      this.#step(row, 1);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Move to the neighbour: upwards to its end, downwards to its start. */
  #step(row, by) {
    const box = (by < 0 ? row.previousElementSibling : row.nextElementSibling).querySelector("textarea");
    const at = by < 0 ? box.value.length : 0;
    box.focus();
    box.setSelectionRange(at, at);
  }

  #paste(event) {
    const pasted = (event.clipboardData?.getData("text/plain") ?? "").replace(/\r\n?/gu, "\n");
    const lines = pasted.split("\n").filter((line) => line.trim());
    if (lines.length < 2) return;
    event.preventDefault();
    const box = event.target;
    const before = box.value.slice(0, box.selectionStart);
    const after = box.value.slice(box.selectionEnd);
    const rows = lines.slice(1).map((line) => this.#row(line));
    box.value = before + lines[0];
    rows.at(-1).querySelector("textarea").value += after;
    box.closest("li").after(...rows);
    this.#settle([box, ...rows.map((row) => row.querySelector("textarea"))]);
    rows.at(-1).querySelector("textarea").focus();
    this.notify(`${lines.length} lines became ${lines.length} texts.`, "Keep as one text", () => {
      rows.forEach((row) => row.remove());
      box.value = before + pasted + after;
      this.#settle([box]);
      box.focus();
    });
  }

  #remove(row) {
    const texts = this.#boxes.map((box) => box.value);
    const next = row.nextElementSibling ?? row.previousElementSibling;
    const name = row.querySelector("textarea").getAttribute("aria-label");
    const kept = row.querySelector("textarea").value.trim() !== "";
    if (next) row.remove();
    else row.querySelector("textarea").value = "";
    (next ?? row).querySelector("textarea").focus();
    this.#settle([]);
    if (kept) {
      this.notify(`${name} removed.`, "Undo", () => {
        this.texts = texts;
        this.changed();
      });
    }
  }

  #settle(boxes) {
    boxes.forEach((box) => this.#fit(box));
    this.#number();
    this.changed();
  }
}
