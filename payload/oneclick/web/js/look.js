/** Theme, size and language, set before the first paint so that nothing flashes or moves. */

import { on } from "./bus.js";
import { applyWords } from "./i18n.js";
import { preferences } from "./preferences.js";

// Browsers keep conversations per address: "localhost" and 127.0.0.1 would be two different lists.
if (location.hostname === "localhost") {
  location.replace(`${location.protocol}//127.0.0.1:${location.port}${location.pathname}${location.hash}`);
}

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

function applyLook() {
  const root = document.documentElement;
  const automatic = systemIsDark.matches ? "dark" : "light";
  root.dataset.theme = preferences.theme === "auto" ? automatic : preferences.theme;
  root.dataset.sidebar = preferences.sidebar ? "open" : "closed";
  root.style.setProperty("--scale", preferences.scale);
  root.style.colorScheme = preferences.theme === "auto" ? "light dark" : preferences.theme;
}

on("preference", applyLook);
systemIsDark.addEventListener("change", applyLook);
applyLook();
applyWords();
