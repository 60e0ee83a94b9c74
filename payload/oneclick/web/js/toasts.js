/** Short notices that go away by themselves, and can carry one action such as undoing. */

import { byId, h } from "./dom.js";

const SHOWN_MS = 8000;

/** Show `words`; `options`: `action` (label) with `run`, `serious` stays longer. */
export function toast(words, { action = null, run = null, serious = false } = {}) {
  const close = () => element.remove();
  const element = h("div", { class: serious ? "toast serious" : "toast" }, h("span", {}, words),
    action && h("button", { type: "button", class: "toast-action", on: { click: () => { close(); run(); } } }, action));
  const place = document.querySelector("dialog[open] .dialog-toasts") ?? byId("toasts");
  place.append(element);
  setTimeout(close, serious ? SHOWN_MS * 2 : SHOWN_MS);
}
