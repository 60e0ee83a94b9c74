/** Modal windows on the browser's own <dialog>: focus stays inside, Escape closes, the opener gets the focus back. */

import { h, icon } from "./dom.js";
import { t } from "./i18n.js";

/** Show `content` under `title`; resolves when it is closed. `fill(body, close)` may build the content instead. */
export function openDialog(title, fill, { wide = false, name = "" } = {}) {
  return new Promise((resolve) => {
    const heading = h("h2", { id: `dialog-${name}` }, title);
    const body = h("div", { class: "dialog-body" });
    const close = () => dialog.close();
    const dialog = h("dialog", { class: wide ? "dialog wide" : "dialog", "aria-labelledby": heading.id, "data-name": name },
      h("header", { class: "dialog-head" }, heading,
        h("button", { type: "button", class: "icon-button", "aria-label": t("close"), title: t("close"), on: { click: close } }, icon("close"))),
      body, h("div", { class: "dialog-toasts toasts", role: "status" }));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(); });
    dialog.addEventListener("pointerdown", (event) => { if (event.target === dialog) close(); });
    fill(body, close);
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Ask a yes-or-no question; resolves to the answer. */
export async function confirmed(title, words, yes) {
  let answer = false;
  await openDialog(title, (body, close) => {
    body.append(h("p", {}, words), h("div", { class: "row-end" },
      h("button", { type: "button", class: "button quiet", on: { click: close } }, t("cancel")),
      h("button", { type: "button", class: "button danger", on: { click: () => { answer = true; close(); } } }, yes)));
  }, { name: "confirm" });
  return answer;
}

/** Ask for one line of text; resolves to it, or null. */
export async function askText(title, label, value, type = "text") {
  let answer = null;
  await openDialog(title, (body, close) => {
    const input = h("input", { class: "input", type, autocomplete: "off", maxlength: "500", "aria-label": label });
    input.value = value;
    body.append(h("form", { on: { submit: (event) => { event.preventDefault(); answer = input.value; close(); } } },
      h("label", { class: "field" }, h("span", {}, label), input),
      h("div", { class: "row-end" },
        h("button", { type: "button", class: "button quiet", on: { click: close } }, t("cancel")),
        h("button", { type: "submit", class: "button primary" }, t("save")))));
    queueMicrotask(() => input.select());
  }, { name: "ask" });
  return answer;
}
