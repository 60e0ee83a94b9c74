/** Who was turned away at the door: a card asks about one at a time, and the user says what to do. */

import { ServerError, answerStranger } from "./api.js";
import { on } from "./bus.js";
import { byId, h, icon, setText } from "./dom.js";
import { pick, t } from "./i18n.js";
import { ask, server } from "./server-state.js";
import { toast } from "./toasts.js";

/** A card that comes up under a finger must not take a click that was meant for something else. */
const DEAF_MS = 1000;

const card = byId("stranger-card");
let shown = "";

/** What asks, as far as its name tells: browsers give every extension a scheme of its own. */
function sort({ kind, name }) {
  if (kind === "host") return "host";
  if (/^[a-z-]+-extension:/i.test(name)) return "extension";
  return /^https?:/i.test(name) ? "site" : "program";
}

/** Built when another one is first, and only refreshed while that one waits: focus and buttons stay. */
function show() {
  const [first, ...others] = server.strangers ?? [];
  const now = first ? `${document.documentElement.lang} ${first.kind} ${first.name}` : "";
  if (now !== shown) {
    shown = now;
    card.hidden = !first;
    card.replaceChildren();
    if (first) build(first);
  }
  if (first) setText(card.querySelector(".state-percent"), others.length > 0 ? t("strangersMore", { n: others.length }) : "");
}

function build(stranger) {
  const words = sort(stranger);
  const buttons = ["no", "always", "once"].map((answer) =>
    h("button", { type: "button", class: answer === "once" ? "button primary" : "button", disabled: true, on: { click: () => decide(stranger, answer) } },
      t(`stranger_${answer}`)));
  card.append(
    h("div", { class: "state-head" }, icon("plug"), h("strong", { class: "state-title" }, t(`stranger_${words}`)), h("span", { class: "state-percent" })),
    h("code", { class: "stranger-name", dir: "ltr" }, stranger.name),
    h("p", { class: "state-words" }, t(words === "host" ? "strangerHostWords" : "strangerWords")),
    h("div", { class: "state-foot" }, h("p", { class: "state-figures" }, t("strangerHow")), h("div", { class: "state-buttons" }, buttons)),
  );
  setTimeout(() => enable(buttons, true), DEAF_MS);
}

function enable(buttons, may) {
  for (const button of buttons) button.disabled = !may;
}

async function decide({ kind, name }, answer) {
  const buttons = card.querySelectorAll("button");
  enable(buttons, false);
  try {
    const problem = await answerStranger(kind, name, answer);
    if (problem) toast(pick(problem), { serious: true });
    else if (answer !== "no") toast(t("strangerAllowed"));
    byId("prompt").focus();
  } catch (error) {
    toast(error instanceof ServerError ? pick(error.words) : t("words_offline"), { serious: true });
    enable(buttons, true);
  }
  ask();
}

export function startStrangers() {
  on("server", show);
  on("language", show);
}
