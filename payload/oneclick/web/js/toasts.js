/** Short notices that go away by themselves, though not from under a hand, and can carry one action such as undoing. */

import { byId, h } from "./dom.js";

const SHOWN_MS = 8000;
/** Something to be decided takes longer to read and to reach. */
const ACTION_SHOWN_MS = 20_000;

/** Show `words`; `options`: `action` (label) with `run`, `serious` stays longer. */
export function toast(words, { action = null, run = null, serious = false } = {}) {
  const close = () => element.remove();
  const closeUnlessUsed = () => (element.matches(":hover, :focus-within") ? setTimeout(closeUnlessUsed, SHOWN_MS) : close());
  const element = h("div", { class: serious ? "toast serious" : "toast" }, h("span", {}, words),
    action && h("button", { type: "button", class: "toast-action", on: { click: () => { close(); run(); } } }, action));
  const place = document.querySelector("dialog[open] .dialog-toasts") ?? byId("toasts");
  place.append(element);
  setTimeout(closeUnlessUsed, action ? ACTION_SHOWN_MS : serious ? SHOWN_MS * 2 : SHOWN_MS);
}
