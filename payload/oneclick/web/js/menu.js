/** A small menu beside a button: arrow keys, Escape, and it closes when the focus goes elsewhere. */

import { h, icon } from "./dom.js";

/** Open a menu of `items` ({icon, words, run, danger}) under `opener`. */
export function openMenu(opener, items) {
  document.querySelector(".menu")?.remove();
  let open = true;
  const close = () => {
    // Removing the menu takes the focus out of it, which asks to close it again.
    if (!open) return;
    open = false;
    menu.remove();
    opener.setAttribute("aria-expanded", "false");
  };
  // A popover lies above everything and outside the drawer's transform, wherever it stands in the document.
  const menu = h("div", { class: "menu", role: "menu", popover: "manual" }, items.map((item) =>
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
  opener.closest("aside, main").append(menu);
  menu.showPopover?.();
  opener.setAttribute("aria-expanded", "true");
  const { width, height } = menu.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(box.right - width, innerWidth - width - 8))}px`;
  menu.style.top = `${box.bottom + height + 8 > innerHeight ? Math.max(8, box.top - height - 4) : box.bottom + 4}px`;
  menu.firstElementChild.focus();
}
