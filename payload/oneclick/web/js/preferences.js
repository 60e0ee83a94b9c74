/** What the user set in this browser: read once from localStorage, every value checked. */

import { emit } from "./bus.js";

const KEY = "oneclick.preferences";

const between = (low, high) => (value) => typeof value === "number" && value >= low && value <= high;
const oneOf = (...allowed) => (value) => allowed.includes(value);

/** name -> [default, is this value allowed?] */
const RULES = {
  language: ["auto", oneOf("auto", "zh", "en")],
  theme: ["auto", oneOf("auto", "light", "dark")],
  scale: [1, between(0.85, 1.5)],
  sendKey: ["enter", oneOf("enter", "ctrl-enter")],
  temperature: [0.8, between(0, 2)],
  topP: [0.8, between(0.05, 1)],
  maxTokens: [1024, between(16, 8192)],
  apiKey: ["", (value) => typeof value === "string" && value.length <= 512],
  sidebar: [true, (value) => typeof value === "boolean"],
};

export const preferences = read();

function read() {
  let saved = {};
  try {
    saved = JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    // Unreadable or forbidden: the defaults serve.
  }
  return Object.fromEntries(
    Object.entries(RULES).map(([name, [usual, allowed]]) => [name, allowed(saved[name]) ? saved[name] : usual]),
  );
}

/** Keep `value` for `name` if it is allowed, and tell everyone. */
export function setPreference(name, value) {
  if (!RULES[name][1](value)) return;
  preferences[name] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // Storage is full or forbidden: the value holds until the page is closed.
  }
  emit("preference", name);
}

/** Put the answer's settings back to what the model's makers recommend. */
export function resetAnswerPreferences() {
  for (const name of ["temperature", "topP", "maxTokens"]) setPreference(name, RULES[name][0]);
}
