/** What the program is doing, on screen: the pill in the header, the card above the input, the figures below it. */

import { ServerError, controlDownload } from "./api.js";
import { emit, on } from "./bus.js";
import { chat, versionOf } from "./chat.js";
import { askText, openDialog } from "./dialogs.js";
import { byId, h, icon, setText } from "./dom.js";
import { bytes, duration, number, pick, t } from "./i18n.js";
import { setPreference } from "./preferences.js";
import { ask, server } from "./server-state.js";
import { toast } from "./toasts.js";

const pill = byId("state-pill");
const card = byId("state-card");
const figures = byId("figures");

/** Above this share of the context the meter warns. */
const NEARLY_FULL = 0.85;

const MOOD = { ready: "good", failed: "bad", offline: "bad", locked: "bad", no_model: "wait" };

/** How far the current phase is, 0 to 1, or null. */
function progress() {
  if (typeof server.progress === "number") return server.progress;
  const { done_bytes: done, total_bytes: total } = server.details ?? {};
  return done >= 0 && total > 0 ? done / total : null;
}

function percent(share) {
  // Never 100 % before it is done.
  return `${Math.min(99, Math.floor(share * 100))}%`;
}

function showPill() {
  const { phase } = server;
  const share = progress();
  const words = t(`pill_${phase}`) + (share !== null && phase !== "ready" ? ` ${percent(share)}` : "");
  const full = `${t("stateOf")} ${words}`;
  if (pill.dataset.words === full) return;
  pill.dataset.words = full;
  pill.className = `pill ${MOOD[phase] ?? "wait"}`;
  pill.setAttribute("aria-label", full);
  pill.replaceChildren(h("span", { class: "dot", "aria-hidden": "true" }), h("span", { class: "pill-words" }, words));
}

// ---------------------------------------------------------------- the card

let shownKind = "";

/** The card is built when the kind of trouble changes, and only refreshed while it lasts: focus and buttons stay. */
function showCard() {
  const { phase } = server;
  const kind = phase === "ready" || phase === "unknown" ? "" : `${phase} ${server.details?.paused ?? ""} ${document.documentElement.lang}`;
  if (kind !== shownKind) {
    shownKind = kind;
    card.hidden = kind === "";
    if (kind) buildCard(phase);
  }
  if (kind) refreshCard(phase);
}

function buildCard(phase) {
  const bad = MOOD[phase] === "bad";
  card.className = `state-card ${MOOD[phase] ?? "wait"}`;
  card.setAttribute("role", bad ? "alert" : "group");
  card.setAttribute("aria-label", t("stateOf"));
  card.replaceChildren(
    h("div", { class: "state-head" }, bad ? icon("warn") : h("span", { class: "spinner", "aria-hidden": "true" }),
      h("strong", { class: "state-title" }), h("span", { class: "state-percent" })),
    h("progress", { class: "bar", max: "1", "aria-label": t("progress") }),
    h("p", { class: "state-words" }),
    h("div", { class: "state-foot" }, h("p", { class: "state-figures" }), h("div", { class: "state-buttons" }, buttonsFor(phase))),
  );
}

function buttonsFor(phase) {
  const paused = server.details?.paused;
  const main = (name, words, run) => h("button", { type: "button", class: "button primary", on: { click: run } }, icon(name), h("span", {}, words));
  if (phase === "no_model" || (phase === "downloading" && paused)) {
    return [main("import", t(phase === "no_model" ? "downloadStart" : "downloadResume"), () => download("start"))];
  }
  if (phase === "downloading") return [h("button", { type: "button", class: "button", on: { click: () => download("pause") } }, t("downloadPause"))];
  if (phase === "locked") return [main("edit", t("enterKey"), enterKey)];
  if (phase === "offline") return [h("button", { type: "button", class: "button", on: { click: ask } }, icon("redo"), h("span", {}, t("tryNow")))];
  return [];
}

function refreshCard(phase) {
  const share = progress();
  setText(card.querySelector(".state-title"), t(phase === "downloading" && server.details?.paused ? "title_paused" : `title_${phase}`));
  setText(card.querySelector(".state-percent"), share === null ? "" : percent(share));
  const bar = card.querySelector("progress");
  bar.hidden = MOOD[phase] !== undefined;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  setText(card.querySelector(".state-words"), pick(server.message) || t(`words_${phase}`, { size: modelSize() }));
  setText(card.querySelector(".state-figures"), figuresOf(phase).join(" · "));
}

function modelSize() {
  const size = server.details?.size_bytes ?? server.details?.total_bytes;
  return size ? bytes(size) : "3.27 GB";
}

function figuresOf(phase) {
  const { done_bytes: done, total_bytes: total, rate_bytes_s: rate, left_s: left, source, paused } = server.details ?? {};
  if (phase !== "downloading" && phase !== "verifying") return [];
  return [
    done !== undefined && total && `${bytes(done)} / ${bytes(total)}`,
    !paused && rate > 0 && `${bytes(rate)}/s`,
    !paused && left > 0 && t("left", { time: duration(left) }),
    source && t("from", { source }),
  ].filter(Boolean);
}

async function download(action) {
  try {
    await controlDownload(action, server.details?.model ?? null);
    ask();
  } catch (error) {
    toast(error instanceof ServerError ? pick(error.words) : t("words_offline"), { serious: true });
  }
}

async function enterKey() {
  const key = await askText(t("enterKey"), t("apiKeyLabel"), "", "password");
  if (key === null) return;
  setPreference("apiKey", key.trim());
  ask();
}

// ---------------------------------------------------------------- figures

/** Return {used, total, speed, dropped} of the newest answer that has figures. */
function lastFigures() {
  for (const message of [...chat.messages].reverse()) {
    const own = message.role === "assistant" ? versionOf(message).figures : null;
    if (own?.usage) {
      return { used: own.usage.total_tokens, speed: own.timings?.predicted_per_second, dropped: own.dropped ?? 0 };
    }
  }
  return null;
}

function showFigures() {
  const own = lastFigures();
  const total = server.context?.total;
  if (!own || !total) {
    figures.replaceChildren();
    return;
  }
  const share = Math.min(1, own.used / total);
  const words = t("contextFill", { used: number(own.used), total: number(total) });
  const meter = h("meter", { class: "context", min: "0", max: "1", high: String(NEARLY_FULL), "aria-label": words });
  meter.value = share;
  figures.replaceChildren(
    own.speed > 0 ? h("span", {}, t("speed", { n: own.speed.toFixed(1) })) : "",
    h("span", { class: share > NEARLY_FULL ? "fill high" : "fill", title: t("contextHelp") }, meter, h("span", {}, words)),
  );
}

/** Everything the program tells of itself, in words. */
function openState() {
  const { model, engine, context, queue } = server;
  const rows = [
    [t("stateOf"), pill.querySelector(".pill-words").textContent],
    model && [t("stateModel"), [model.id, model.type, model.file].filter(Boolean).join(" · ")],
    engine && [t("stateEngine"), [`chatglm.cpp ${engine.version}`, engine.level].filter(Boolean).join(" · ")],
    context?.total && [t("stateContext"), t("tokens", { n: number(context.total) })],
    queue && [t("stateQueue"), t("queueWords", { running: queue.running, waiting: queue.waiting })],
    [t("stateAddress"), location.origin],
  ].filter(Boolean);
  openDialog(t("stateTitle"), (body) => {
    body.append(
      h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      h("p", { class: "fine" }, t("stateLocal")),
      h("div", { class: "row-end" }, h("button", { type: "button", class: "button", on: { click: () => emit("open-clients") } }, icon("plug"), h("span", {}, t("otherPrograms")))),
    );
  }, { name: "state" });
}

export function startStateView() {
  pill.addEventListener("click", openState);
  on("server", () => { showPill(); showCard(); showFigures(); });
  on("language", () => { showPill(); showCard(); showFigures(); });
  for (const event of ["opened", "messages", "message"]) on(event, showFigures);
  showPill();
}
