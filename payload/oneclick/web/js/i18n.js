/** Words in the user's language. Static text carries data-i18n attributes, the rest calls `t`. */

import { emit, on } from "./bus.js";
import { preferences } from "./preferences.js";
import en from "./words-en.js";
import zh from "./words-zh.js";

const TABLES = { zh, en };

export function language() {
  if (preferences.language !== "auto") return preferences.language;
  return (navigator.languages?.[0] ?? navigator.language ?? "zh").toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** Return the sentence of `key`; `{name}` is filled from `values`. */
export function t(key, values = {}) {
  const sentence = TABLES[language()][key];
  if (sentence === undefined) throw new Error(`no words for ${key}`);
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Return the side of a `{zh, en}` sentence of the server that the user reads. */
export function pick(sentence) {
  if (!sentence) return "";
  return typeof sentence === "string" ? sentence : (sentence[language()] ?? sentence.zh ?? sentence.en ?? "");
}

/** Fill every element of `root` that names its words. */
export function applyWords(root = document) {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  for (const element of root.querySelectorAll("[data-i18n]")) element.textContent = t(element.dataset.i18n);
  for (const element of root.querySelectorAll("[data-i18n-title]")) element.title = t(element.dataset.i18nTitle);
  for (const element of root.querySelectorAll("[data-i18n-label]")) {
    element.setAttribute("aria-label", t(element.dataset.i18nLabel));
    if (element.matches("button")) element.title = t(element.dataset.i18nLabel);
  }
  for (const element of root.querySelectorAll("[data-i18n-placeholder]")) {
    element.placeholder = t(element.dataset.i18nPlaceholder);
  }
}

on("preference", (name) => {
  if (name !== "language") return;
  applyWords();
  emit("language");
});

/** "3.27 GB", as Windows counts (1024). */
export function bytes(count) {
  const units = ["B", "KB", "MB", "GB"];
  let index = 0;
  let value = count;
  while (value >= 1024 && index < units.length - 1) {
    value /= 1024;
    index += 1;
  }
  return `${value >= 100 || index === 0 ? Math.round(value) : value.toFixed(value >= 10 ? 1 : 2)} ${units[index]}`;
}

/** "3 分 20 秒" */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return t("seconds", { s });
  if (s < 3600) return t("minutes", { m: Math.floor(s / 60), s: s % 60 });
  return t("hours", { h: Math.floor(s / 3600), m: Math.floor((s % 3600) / 60) });
}

export function number(value) {
  return new Intl.NumberFormat(language() === "zh" ? "zh-CN" : "en").format(value);
}
