/** A small menu beside a button: arrow keys, Escape, and it closes when the focus goes elsewhere. */

import { h, icon } from "./dom.js";

/** Open a menu of `items` ({icon, words, run, danger}) under `opener`. */
export function openMenu(opener, items) {
  document.querySelector(".menu")?.remove();
  const close = () => {
    menu.remove();
    opener.setAttribute("aria-expanded", "false");
  };
  const menu = h("div", { class: "menu", role: "menu" }, items.map((item) =>
    h("button", {
      type: "button", role: "menuitem", class: item.danger ? "danger" : null, tabindex: "-1",
      on: { click: () => { close(); opener.focus(); item.run(); } },
    }, icon(item.icon), h("span", {}, item.words))));
  menu.addEventListener("keydown", (event) => {
    const buttons = [...menu.children];
    const index = buttons.indexOf(document.activeElement);
    const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (next !== undefined) buttons[(next + buttons.length) % buttons.length].focus();
    else if (event.key === "Escape" || event.key === "Tab") { close(); opener.focus(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  menu.addEventListener("focusout", (event) => { if (!menu.contains(event.relatedTarget)) close(); });
  const box = opener.getBoundingClientRect();
  document.body.append(menu);
  opener.setAttribute("aria-expanded", "true");
  const { width, height } = menu.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(box.right - width, innerWidth - width - 8))}px`;
  menu.style.top = `${box.bottom + height + 8 > innerHeight ? Math.max(8, box.top - height - 4) : box.bottom + 4}px`;
  menu.firstElementChild.focus();
}
