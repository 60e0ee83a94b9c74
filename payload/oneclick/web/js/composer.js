/** The box to write in: grows with the text, knows input methods, keeps drafts. */

import { on } from "./bus.js";
import { answerOf, chat, send, stopAnswer } from "./chat.js";
import { byId } from "./dom.js";
import { t } from "./i18n.js";
import { preferences } from "./preferences.js";
import { editLastQuestion, scrollToEnd } from "./thread.js";

const form = byId("composer");
const prompt = byId("prompt");
const sendButton = byId("send");
const hint = byId("composer-hint");
const TALLEST = 0.4;

/** Enter while an input method composes belongs to the input method; 229 is how older browsers say so. */
function composes(event) {
  return event.isComposing || event.keyCode === 229;
}

function wantsSending(event) {
  if (event.key !== "Enter" || composes(event) || event.shiftKey || event.altKey) return false;
  const control = event.ctrlKey || event.metaKey;
  return preferences.sendKey === "enter" ? true : control;
}

function onKey(event) {
  if (wantsSending(event)) {
    event.preventDefault();
    submit();
  } else if (event.key === "ArrowUp" && prompt.value === "" && !composes(event)) {
    event.preventDefault();
    editLastQuestion();
  }
}

async function submit() {
  const text = prompt.value.trim();
  if (!text || isAnswering()) return;
  prompt.value = "";
  keepDraft();
  grow();
  scrollToEnd();
  await send(text);
  scrollToEnd();
}

function isAnswering() {
  return chat.current !== null && answerOf(chat.current.id) !== null;
}

/** The one round button sends, or stops what is being answered. */
function showButton() {
  const stop = isAnswering();
  const words = t(stop ? "stop" : "send");
  sendButton.classList.toggle("stop", stop);
  sendButton.querySelector("use").setAttribute("href", stop ? "#i-stop" : "#i-send");
  sendButton.setAttribute("aria-label", words);
  sendButton.title = words;
  sendButton.disabled = !stop && prompt.value.trim() === "";
}

function grow() {
  showButton();
  if (CSS.supports("field-sizing", "content")) return;
  prompt.style.height = "auto";
  prompt.style.height = `${Math.min(prompt.scrollHeight, innerHeight * TALLEST)}px`;
}

function draftKey() {
  return chat.messages.length > 0 ? `oneclick.draft.${chat.current.id}` : "oneclick.draft";
}

function keepDraft() {
  try {
    if (prompt.value) localStorage.setItem(draftKey(), prompt.value);
    else localStorage.removeItem(draftKey());
  } catch {
    // Without storage a draft lives as long as the page.
  }
}

let draftShown = false;

/** Show what was being written; what was typed before the page had started stays. */
function showDraft() {
  const typed = draftShown ? "" : prompt.value;
  draftShown = true;
  try {
    prompt.value = typed || (localStorage.getItem(draftKey()) ?? "");
  } catch {
    prompt.value = typed;
  }
  grow();
}

function showHint() {
  hint.textContent = t(preferences.sendKey === "enter" ? "hintEnter" : "hintCtrlEnter");
}

export function startComposer() {
  prompt.addEventListener("keydown", onKey);
  prompt.addEventListener("input", () => { keepDraft(); grow(); });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (isAnswering()) stopAnswer(chat.current.id);
    else submit();
    prompt.focus();
  });
  for (const event of ["answer", "opened", "messages"]) on(event, showButton);
  on("opened", showDraft);
  on("starter", (text) => { prompt.value = text; keepDraft(); grow(); prompt.focus(); });
  for (const event of ["language", "preference"]) on(event, () => { showHint(); showButton(); });
  showHint();
  grow();
}
