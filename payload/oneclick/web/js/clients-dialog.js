/** Exact settings for other programs that can talk to this server, with the real port. */

import { openDialog } from "./dialogs.js";
import { h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { confirmCopy } from "./markdown.js";
import { server } from "./server-state.js";

const ANY_KEY = "chatglm3";

/** name -> steps in words, rows [label, value], code; the values are what each program wants to be given. */
function clients() {
  const host = location.origin;
  const model = server.model?.id ?? "chatglm3-6b";
  return {
    Chatbox: {
      steps: [t("chatbox1"), t("chatbox2"), t("chatbox3")],
      rows: [[t("rowHost"), host], [t("rowPath"), "/v1/chat/completions"], [t("rowKey"), ANY_KEY], [t("rowModel"), model]],
      note: t("chatboxNote"),
    },
    NextChat: {
      steps: [t("nextchat1"), t("nextchat2")],
      rows: [[t("rowEndpoint"), host], [t("rowKey"), ANY_KEY], [t("rowCustomModel"), `+${model}`]],
      note: t("nextchatNote"),
    },
    "Cherry Studio": {
      steps: [t("cherry1"), t("cherry2")],
      rows: [[t("rowHost"), `${host}/v1/`], [t("rowKey"), ANY_KEY], [t("rowModel"), model]],
    },
    Ollama: { steps: [t("ollama1")], rows: [[t("rowHost"), host], [t("rowModel"), model]], note: t("ollamaNote") },
    curl: { steps: [t("curl1")], code: curl(host) },
    Python: { steps: [t("python1")], code: python(host, model) },
  };
}

/** One line that works in Windows' command prompt and in a Unix shell alike. */
function curl(host) {
  return `curl ${host}/v1/chat/completions -H "Content-Type: application/json" -d "{\\"messages\\": [{\\"role\\": \\"user\\", \\"content\\": \\"Hello\\"}]}"`;
}

function python(host, model) {
  return [
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url="${host}/v1", api_key="${ANY_KEY}")`,
    "stream = client.chat.completions.create(",
    `    model="${model}",`,
    `    messages=[{"role": "user", "content": "你好"}],`,
    "    stream=True,",
    ")",
    "for chunk in stream:",
    '    print(chunk.choices[0].delta.content or "", end="", flush=True)',
    "",
  ].join("\n");
}

function copyRow([label, value]) {
  const button = h("button", { type: "button", class: "icon-button small", "aria-label": t("copyOf", { name: label }), title: t("copy") }, icon("copy"));
  button.addEventListener("click", () => confirmCopy(button, value));
  return h("div", { class: "copy-row" }, h("dt", {}, label), h("dd", {}, h("code", {}, value), button));
}

function codeBlock(text) {
  const button = h("button", { type: "button", class: "code-copy" }, icon("copy"), h("span", {}, t("copy")));
  button.addEventListener("click", () => confirmCopy(button, text));
  return h("div", { class: "code-frame" }, h("div", { class: "code-head" }, h("span", {}, ""), button),
    h("pre", { tabindex: "0", role: "region", "aria-label": t("code") }, h("code", {}, text)));
}

function panel({ steps, rows, code, note }) {
  return [
    h("ol", { class: "steps" }, steps.map((step) => h("li", {}, step))),
    rows && h("dl", { class: "copy-rows" }, rows.map(copyRow)),
    code && codeBlock(code),
    note && h("p", { class: "fine" }, note),
  ].filter(Boolean);
}

export function openClients() {
  openDialog(t("otherPrograms"), (body) => {
    const all = clients();
    const names = Object.keys(all);
    const content = h("div", { class: "panel", role: "tabpanel", id: "client-panel", tabindex: "0" });
    const tabs = names.map((name) => h("button", {
      type: "button", role: "tab", id: `client-${name.replace(" ", "-")}`, "aria-controls": "client-panel", on: { click: () => choose(name) },
    }, name));
    const choose = (name) => {
      for (const tab of tabs) {
        const chosen = tab.textContent === name;
        tab.setAttribute("aria-selected", String(chosen));
        tab.tabIndex = chosen ? 0 : -1;
        if (chosen) content.setAttribute("aria-labelledby", tab.id);
      }
      content.replaceChildren(...panel(all[name]));
    };
    const list = h("div", { class: "tabs", role: "tablist", "aria-label": t("otherPrograms") }, tabs);
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const index = (tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length;
      choose(names[index]);
      tabs[index].focus();
    });
    choose(names[0]);
    body.append(h("p", { class: "fine" }, t("clientsLead")), list, content, h("p", { class: "fine" }, t("clientsTrouble")));
  }, { wide: true, name: "clients" });
}
