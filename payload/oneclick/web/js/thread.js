/** The messages on screen. */

import { emit, on } from "./bus.js";
import {
  answerAfter, answerOf, chat, continueAnswer, phaseWords, regenerate, resend, showVersion, textOf, unreplace, versionOf,
} from "./chat.js";
import { byId, h, icon, setText } from "./dom.js";
import { number, pick, t } from "./i18n.js";
import { MarkdownView, confirmCopy } from "./markdown.js";
import { allRoles } from "./roles.js";
import { roleBadge } from "./role-badge.js";
import { toast } from "./toasts.js";

/** A message this near to the window is shown as Markdown; until then as plain text, which costs nothing. */
const NEAR = "1200px 0px";
/** Nearer to the end than this, the end stays in view while the answer grows. */
const END_PX = 48;

const list = byId("messages");
const scroller = byId("scroller");
const hero = byId("hero");
const toBottom = byId("to-bottom");

/** message id -> MessageView */
const views = new Map();
let following = true;

/** Views that came near and wait for their turn; a few milliseconds of each frame are theirs. */
const waiting = [];
const BUDGET_MS = 8;

const nearby = new IntersectionObserver(
  (entries) => {
    const near = entries.filter((entry) => entry.isIntersecting).map((entry) => views.get(entry.target.dataset.id));
    if (waiting.length === 0 && near.length > 0) requestAnimationFrame(showWaiting);
    waiting.push(...near.filter(Boolean));
  },
  { root: scroller, rootMargin: NEAR },
);

function showWaiting() {
  const began = performance.now();
  while (waiting.length > 0 && performance.now() - began < BUDGET_MS) waiting.shift().showMarkdown();
  if (waiting.length > 0) requestAnimationFrame(showWaiting);
}

/** When there is nothing else to do, make ready what is far away, nearest to the end first. */
const whenIdle = window.requestIdleCallback ?? ((work) => setTimeout(() => work({ timeRemaining: () => BUDGET_MS }), 50));
let idling = false;

function showFarAway() {
  if (idling) return;
  idling = true;
  whenIdle(function some(deadline) {
    const far = [...views.values()].filter((view) => !view.markdown && view.message.role === "assistant");
    while (far.length > 0 && deadline.timeRemaining() > 2) far.pop().showMarkdown();
    idling = far.length > 0;
    if (idling) whenIdle(some);
  });
}

class MessageView {
  constructor(message) {
    this.message = message;
    this.body = h("div", { class: "body plain" });
    this.note = h("div", { class: "note" });
    this.actions = h("div", { class: "actions" });
    const heading = h("h2", { class: "hidden" }, t(message.role === "user" ? "you" : "assistantName"));
    this.element = h("li", { class: `message ${message.role}`, "data-id": message.id }, heading, this.body, this.note, this.actions);
    this.markdown = null;
    this.scheduled = false;
    this.update();
    if (message.role === "assistant") nearby.observe(this.element);
  }

  /** Show text, state and buttons as they are now. */
  update() {
    this.showText();
    this.showNote();
    this.showActions();
  }

  showMarkdown() {
    if (this.markdown || this.message.role === "user" || views.get(this.message.id) !== this) return;
    nearby.unobserve(this.element);
    this.body.classList.remove("plain");
    this.body.classList.add("markdown");
    this.body.replaceChildren();
    this.markdown = new MarkdownView(this.body);
    this.showText();
  }

  showText() {
    const growing = this.answer()?.phase === "writing";
    if (this.markdown) this.markdown.update(textOf(this.message), growing);
    else setText(this.body, textOf(this.message));
    this.body.classList.toggle("growing", growing);
    this.body.setAttribute("aria-busy", growing);
  }

  /** Show more text with the next frame. */
  soon() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.showMarkdown();
      this.showText();
    });
  }

  answer() {
    const answer = answerOf(this.message.conversation);
    return answer?.message === this.message ? answer : null;
  }

  showNote() {
    const answer = this.answer();
    this.note.className = "note";
    if (this.message.role === "user") this.note.replaceChildren();
    else if (answer && answer.phase !== "writing") this.showPhase(answer);
    else if (!answer) this.showEnd(versionOf(this.message));
    else this.note.replaceChildren();
  }

  showPhase(answer) {
    if (!this.note.querySelector(".phase")) {
      this.note.replaceChildren(
        h("span", { class: "phase" }, h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")), h("span", { class: "phase-words" })),
        h("progress", { class: "thin", max: "1", "aria-label": t("phaseReading") }),
      );
    }
    setText(this.note.querySelector(".phase-words"), phaseWords(answer));
    const bar = this.note.querySelector("progress");
    bar.classList.toggle("unseen", !(answer.phase === "reading" && answer.progress > 0));
    bar.value = answer.progress ?? 0;
  }

  /** Say how the answer ended when it did not simply end. */
  showEnd(version) {
    const parts = [];
    if (version.figures?.dropped) parts.push(h("p", { class: "hint-line" }, t("dropped", { n: version.figures.dropped })));
    if (version.figures?.repeating) parts.push(h("p", { class: "hint-line" }, t("repeating")));
    const words = {
      stopped: t("endStopped"),
      length: t("endLength"),
      interrupted: t(version.text ? "endInterrupted" : "endInterruptedEmpty"),
      error: pick(version.error?.words),
    }[version.state];
    if (words) {
      const again = version.text && this.isLast()
        ? button("play", t("continue"), () => continueAnswer(this.message), "with-words")
        : version.state !== "stopped" && this.isLast() && button("redo", t("tryAgain"), () => continueAnswer(this.message), "with-words");
      const serious = version.state === "error" || version.state === "interrupted";
      parts.push(h("div", { class: serious ? "end serious" : "end", role: version.state === "error" ? "alert" : null },
        serious && icon("warn"), h("p", {}, words), again));
    } else if (version.state === "running") {
      parts.push(h("div", { class: "end" }, h("p", {}, t("endOtherTab"))));
    } else if (!version.text) {
      parts.push(h("div", { class: "end" }, h("p", {}, t("endEmpty")), this.isLast() && button("redo", t("tryAgain"), () => regenerate(this.message), "with-words")));
    }
    this.note.replaceChildren(...parts);
  }

  isLast() {
    return chat.messages.at(-1) === this.message;
  }

  showActions() {
    const parts = this.message.role === "user" ? this.userActions() : this.assistantActions();
    this.actions.replaceChildren(...parts.filter(Boolean));
  }

  userActions() {
    const unanswered = this.isLast();
    return [
      unanswered && button("redo", t("answerThis"), () => answerAfter(this.message)),
      button("edit", t("edit"), () => this.startEditing()),
      copyButton(() => textOf(this.message)),
    ];
  }

  assistantActions() {
    if (this.answer()) return [];
    const { versions, active } = this.message;
    const version = versions[active];
    return [
      version.text && copyButton(() => version.text),
      this.isLast() && button("redo", t("regenerate"), () => regenerate(this.message)),
      versions.length > 1 && h("span", { class: "versions" },
        button("left", t("earlierVersion"), () => showVersion(this.message, active - 1), "", active === 0),
        h("span", { "aria-label": t("versionOf", { n: active + 1, all: versions.length }) }, `${active + 1}/${versions.length}`),
        button("right", t("laterVersion"), () => showVersion(this.message, active + 1), "", active === versions.length - 1)),
      figuresWords(version) && h("span", { class: "answer-figures" }, figuresWords(version)),
    ];
  }

  startEditing() {
    if (this.element.querySelector(".editor")) return;
    const area = h("textarea", { class: "editor-text", rows: "3", "aria-label": t("edit") });
    area.value = this.message.text;
    const close = () => {
      editor.remove();
      this.element.classList.remove("editing");
      this.actions.querySelector("button:last-child")?.focus();
    };
    const done = async () => {
      const text = area.value.trim();
      if (!text) return;
      close();
      following = true;
      const undo = await resend(this.message, text);
      if (undo.removed.length > 1) toast(t("resent"), { action: t("undo"), run: () => unreplace(undo) });
    };
    const editor = h("form", { class: "editor", on: { submit: (event) => { event.preventDefault(); done(); } } }, area,
      h("div", { class: "row-end" },
        h("button", { type: "button", class: "button quiet", on: { click: close } }, t("cancel")),
        h("button", { type: "submit", class: "button primary" }, t("sendAgain"))));
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) done();
      event.stopPropagation();
    });
    this.element.classList.add("editing");
    this.body.after(editor);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  remove() {
    nearby.unobserve(this.element);
    this.element.remove();
  }
}

function button(name, words, run, more = "", disabled = false) {
  const withWords = more === "with-words";
  return h("button", {
    type: "button", class: withWords ? "button small" : "icon-button small", title: withWords ? null : words,
    "aria-label": withWords ? null : words, disabled, on: { click: run },
  }, icon(name), withWords && h("span", {}, words));
}

function copyButton(text) {
  const element = button("copy", t("copy"), () => confirmCopy(element, text()));
  return element;
}

/** "2.8 token/秒 · 120 token", from the server's own figures. */
function figuresWords(version) {
  const { timings, usage } = version.figures ?? {};
  const parts = [];
  if (timings?.predicted_per_second > 0) parts.push(t("speed", { n: timings.predicted_per_second.toFixed(1) }));
  if (usage?.completion_tokens) parts.push(t("tokens", { n: number(usage.completion_tokens) }));
  return parts.join(" · ");
}

// ---------------------------------------------------------------- the list

/** Bring the list on screen in line with `chat.messages`, touching only what differs. */
function showMessages() {
  const wanted = new Set(chat.messages.map((message) => message.id));
  for (const [id, view] of views) {
    if (wanted.has(id)) continue;
    view.remove();
    views.delete(id);
  }
  chat.messages.forEach((message, index) => {
    let view = views.get(message.id);
    if (view) view.message = message;
    else views.set(message.id, (view = new MessageView(message)));
    if (list.children[index] !== view.element) list.insertBefore(view.element, list.children[index] ?? null);
    view.update();
  });
  showHero();
}

function showOpened() {
  for (const view of views.values()) view.remove();
  views.clear();
  following = true;
  showMessages();
  showFarAway();
  scrollToEnd();
  if (chat.messages.length === 0) scroller.scrollTop = 0;
}

/** What an empty conversation shows: a welcome and the roles to choose from. */
function showHero() {
  const empty = chat.messages.length === 0;
  hero.hidden = !empty;
  list.hidden = empty;
  if (!empty) return;
  const roles = allRoles();
  const chosen = roles.find((role) => role.id === chat.current.role) ?? roles[0];
  hero.replaceChildren(
    h("h2", { class: "hero-title" }, t("heroTitle")),
    h("p", { class: "hero-lead" }, t("heroLead")),
    h("div", { class: "role-cards", role: "radiogroup", "aria-label": t("roles"), on: { keydown: moveBetweenCards } },
      roles.map((role) => roleCard(role, role === chosen)),
      h("button", { type: "button", class: "role-card own", on: { click: () => emit("open-roles") } },
        h("span", { class: "badge", "aria-hidden": "true" }, icon("edit")),
        h("span", { class: "role-words" }, h("b", {}, t("editRoles")), h("small", {}, t("editRolesHint"))))),
    chosen?.starters?.length > 0 && h("div", { class: "starters" },
      h("h3", {}, t("startersTitle")),
      chosen.starters.map((text) => h("button", { type: "button", class: "starter", on: { click: () => emit("starter", text) } }, text))),
  );
}

function roleCard(role, chosen) {
  return h("button", {
    type: "button", class: "role-card", role: "radio", "aria-checked": String(chosen), tabindex: chosen ? "0" : "-1", "data-role": role.id,
    on: { click: () => emit("choose-role", role.id) },
  }, roleBadge(role), h("span", { class: "role-words" }, h("b", {}, role.name), h("small", {}, role.hint)));
}

/** Arrow keys move in a radio group, as people who use the keyboard expect. */
function moveBetweenCards(event) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const cards = [...event.currentTarget.querySelectorAll("[data-role]")];
  if (!step || !cards.includes(document.activeElement)) return;
  event.preventDefault();
  const next = cards[(cards.indexOf(document.activeElement) + step + cards.length) % cards.length];
  emit("choose-role", next.dataset.role);
  hero.querySelector(`[data-role="${CSS.escape(next.dataset.role)}"]`)?.focus();
}

// ---------------------------------------------------------------- scrolling

function distanceToEnd() {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
}

export function scrollToEnd() {
  following = true;
  scroller.scrollTop = scroller.scrollHeight;
  toBottom.hidden = true;
}

function onScroll() {
  following = distanceToEnd() < END_PX;
  toBottom.hidden = distanceToEnd() < 240;
}

export function startThread() {
  scroller.addEventListener("scroll", onScroll, { passive: true });
  scroller.addEventListener("wheel", (event) => { if (event.deltaY < 0) following = false; }, { passive: true });
  toBottom.addEventListener("click", () => { scrollToEnd(); byId("prompt").focus(); });
  const keepEnd = new ResizeObserver(() => {
    if (following && chat.messages.length > 0) scroller.scrollTop = scroller.scrollHeight;
  });
  keepEnd.observe(list);
  keepEnd.observe(scroller);

  on("opened", showOpened);
  on("messages", showMessages);
  on("roles", () => { if (chat.current) showHero(); });
  on("role", () => showHero());
  on("language", showOpened);
  on("text", (message) => views.get(message.id)?.soon());
  on("message", (message) => {
    const index = chat.messages.indexOf(message);
    if (index < 0) return;
    views.get(message.id)?.update();
    views.get(chat.messages[index - 1]?.id)?.showActions();
  });
  on("answer", (answer) => {
    if (answer && answer.message.conversation === chat.current?.id) views.get(answer.message.id)?.showNote();
  });
}

/** Let the user edit the question before the last answer. */
export function editLastQuestion() {
  const last = [...chat.messages].reverse().find((message) => message.role === "user");
  if (last) views.get(last.id)?.startEditing();
}

