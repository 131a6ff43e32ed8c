/** The programs in tabs, after the ARIA pattern: arrows move, the chosen tab alone takes part in the tab order. */

import { LANGUAGES, showCode } from "./code.js";
import { byId, el } from "./dom.js";

export class CodeTabs {
  #chosen = LANGUAGES[0];
  #call = null;

  constructor(notify) {
    this.tabs = LANGUAGES.map(({ id, name }) =>
      el("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": "code-panel" }, name),
    );
    byId("tabs").append(...this.tabs);
    byId("tabs").addEventListener("click", (event) => this.#choose(this.tabs.indexOf(event.target)));
    byId("tabs").addEventListener("keydown", (event) => this.#key(event));
    byId("copy").addEventListener("click", async () => {
      notify((await copied(byId("snippet").textContent)) ? "Copied." : "Select the code and copy it by hand.");
    });
    this.#choose(0);
  }

  /** Show the programs of a call: {state, model, base, keyed}. */
  show(call) {
    this.#call = call;
    showCode(byId("snippet"), this.#chosen.write(call));
  }

  #choose(index) {
    if (index < 0) return;
    this.#chosen = LANGUAGES[index];
    this.tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === index));
      tab.tabIndex = at === index ? 0 : -1;
    });
    byId("code-panel").setAttribute("aria-labelledby", this.tabs[index].id);
    if (this.#call) this.show(this.#call);
  }

  #key(event) {
    const at = this.tabs.indexOf(event.target);
    const last = this.tabs.length - 1;
    const to = { ArrowRight: (at + 1) % (last + 1), ArrowLeft: at ? at - 1 : last, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    this.tabs[to].focus();
    this.#choose(to);
  }
}

/** Copy a text; whether it worked. Browsers give no clipboard to a page that came over plain HTTP from elsewhere. */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const box = el("textarea", { class: "unseen", "aria-hidden": true });
    box.value = text;
    document.body.append(box);
    const before = document.activeElement;
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    before?.focus();
    return done;
  }
}
