/** The settings, each with a plain explanation of what it does. */

import { emit, on } from "./bus.js";
import { chat, removeEverything } from "./chat.js";
import { confirmed, openDialog } from "./dialogs.js";
import { h, icon } from "./dom.js";
import { number, t } from "./i18n.js";
import { preferences, resetAnswerPreferences, setPreference } from "./preferences.js";
import { server } from "./server-state.js";
import { whyNotInFolder } from "./store.js";
import { toast } from "./toasts.js";
import { ImportError, exportAll, importFiles } from "./transfer.js";

function choice(name, label, options) {
  const id = `setting-${name}`;
  const select = h("select", { id, class: "input", on: { change: () => setPreference(name, parse(select.value)) } },
    options.map(([value, words]) => h("option", { value: String(value) }, words)));
  const parse = (text) => options.map(([value]) => value).find((value) => String(value) === text);
  select.value = String(preferences[name]);
  return h("div", { class: "setting" }, h("label", { for: id }, label), select);
}

function slider(name, label, explanation, { min, max, step, show, ends }) {
  const id = `setting-${name}`;
  const output = h("output", { for: id });
  const input = h("input", { id, type: "range", min, max, step, "aria-describedby": `${id}-help` });
  const sync = () => {
    input.value = preferences[name];
    output.textContent = show(preferences[name]);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => { setPreference(name, Number(input.value)); sync(); });
  sync();
  const element = h("div", { class: "setting tall" },
    h("div", { class: "setting-head" }, h("label", { for: id }, label), output), input,
    h("div", { class: "ends", "aria-hidden": "true" }, ends.map((end) => h("span", {}, end))),
    h("p", { class: "fine", id: `${id}-help` }, explanation));
  return { element, sync };
}

function answerSection() {
  const longest = Math.max(256, Math.min(8192, Math.floor((server.context?.total ?? 8192) / 2)));
  const sliders = [
    slider("temperature", t("temperature"), t("temperatureHelp"), { min: 0, max: 1.5, step: 0.05, show: (v) => v.toFixed(2), ends: [t("temperatureLow"), t("temperatureHigh")] }),
    slider("topP", t("topP"), t("topPHelp"), { min: 0.1, max: 1, step: 0.05, show: (v) => v.toFixed(2), ends: [t("topPLow"), t("topPHigh")] }),
    slider("maxTokens", t("maxTokens"), t("maxTokensHelp"), { min: 64, max: longest, step: 64, show: (v) => t("tokens", { n: number(Math.min(v, longest)) }), ends: [t("shorter"), t("longer")] }),
  ];
  const reset = h("button", { type: "button", class: "button quiet", on: { click: () => { resetAnswerPreferences(); sliders.forEach(({ sync }) => sync()); } } }, icon("redo"), h("span", {}, t("recommended")));
  return h("section", {}, h("h3", {}, t("answers")), sliders.map(({ element }) => element), h("div", { class: "row-end" }, reset));
}

function dataSection() {
  const input = h("input", { type: "file", class: "hidden", multiple: true, accept: ".json,.md,.markdown,.txt", tabindex: "-1", "aria-label": t("import") });
  input.addEventListener("change", () => bringIn(input));
  const action = (name, words, run, more = "") => h("button", { type: "button", class: `button ${more}`, on: { click: run } }, icon(name), h("span", {}, words));
  return h("section", {}, h("h3", {}, t("data")), h("p", { class: "fine" }, t(whyNotInFolder() ? "dataHelpHere" : "dataHelp")),
    h("div", { class: "row" }, action("export", t("exportAll"), exportAll), action("import", t("import"), () => input.click()), input,
      action("trash", t("deleteAll"), deleteAll, "danger-quiet")));
}

async function bringIn(input) {
  try {
    const count = await importFiles([...input.files]);
    toast(t("importDone", { n: count }));
  } catch (error) {
    if (!(error instanceof ImportError)) throw error;
    toast(t(error.message), { serious: true });
  }
  input.value = "";
}

async function deleteAll() {
  const count = chat.conversations.length;
  if (await confirmed(t("deleteAll"), t(whyNotInFolder() ? "deleteAllWordsHere" : "deleteAllWords", { n: count }), t("delete"))) {
    await removeEverything();
    toast(t("deletedAll"));
  }
}

function lookSection() {
  return h("section", {}, h("h3", {}, t("look")),
    choice("theme", t("theme"), [["auto", t("asSystem")], ["light", t("light")], ["dark", t("dark")]]),
    choice("scale", t("textSize"), [[0.9, t("sizeSmall")], [1, t("sizeNormal")], [1.15, t("sizeLarge")], [1.3, t("sizeLarger")]]),
    choice("language", "语言 · Language", [["auto", t("asSystem")], ["zh", "中文"], ["en", "English"]]),
    choice("sendKey", t("sendKey"), [["enter", t("sendKeyEnter")], ["ctrl-enter", t("sendKeyCtrl")]]));
}

function keysSection() {
  const keys = [["Enter", t("keyEnter")], ["Shift + Enter", t("keyShiftEnter")], ["Esc", t("keyEsc")], ["↑", t("keyUp")],
    ["Ctrl + K", t("keySearch")], ["Ctrl + Shift + O", t("keyNew")]];
  return h("section", {}, h("h3", {}, t("keys")), h("dl", { class: "keys" }, keys.map(([key, words]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)))));
}

export function openSettings() {
  const languageBefore = preferences.language;
  let again = false;
  let closeDialog = () => {};
  const onLanguage = new AbortController();
  on("language", () => { again = preferences.language !== languageBefore; closeDialog(); }, { signal: onLanguage.signal });
  openDialog(t("settings"), (body, close) => {
    closeDialog = close;
    body.append(answerSection(), lookSection(), dataSection(), keysSection(),
      h("p", { class: "fine" }, t("about")));
  }, { name: "settings" }).then(() => {
    onLanguage.abort();
    // Opened again in the other language, where the user left it.
    if (again) emit("open-settings");
  });
}
