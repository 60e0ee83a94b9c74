/** The little coloured mark of a role: its icon, or the first character of the name of a user's own role. */

import { h, icon } from "./dom.js";

export function roleBadge(role) {
  const badge = h("span", { class: "badge", "aria-hidden": "true" }, role.icon ? icon(role.icon) : (Array.from(role.name)[0] ?? "?"));
  badge.style.setProperty("--hue", role.hue);
  return badge;
}
