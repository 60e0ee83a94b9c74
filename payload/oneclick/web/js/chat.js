/** Conversations and the answers being written in them; no DOM here. */

import { ConnectionLost, ServerError, streamAnswer } from "./api.js";
import { emit, on } from "./bus.js";
import { newId } from "./dom.js";
import { t } from "./i18n.js";
import { preferences } from "./preferences.js";
import { roleById } from "./roles.js";
import { ask, isReady, server, whenReady } from "./server-state.js";
import * as store from "./store.js";
import { briefly } from "./time.js";

const SAVE_EVERY_MS = 600;
const TITLE_LENGTH = 24;

export const chat = {
  conversations: [],
  /** The open conversation; one that has no message yet is not stored. */
  current: null,
  messages: [],
};

/** Conversations whose newest state is being saved: what the store says of them is old. */
const storing = new Set();

/** conversation id -> {message, version, phase, position, progress, controller} of the answer on its way */
const answers = new Map();

export function answerOf(conversation) {
  return answers.get(conversation) ?? null;
}

export function versionOf(message) {
  return message.versions[message.active];
}

export function textOf(message) {
  return message.role === "user" ? message.text : versionOf(message).text;
}

// ---------------------------------------------------------------- conversations

export async function loadConversations() {
  const stored = await store.listConversations();
  const fresh = [...storing].filter((one) => chat.conversations.includes(one));
  chat.conversations = [...fresh, ...stored.filter((one) => !fresh.some(({ id }) => id === one.id))];
  const same = chat.conversations.find((one) => one.id === chat.current?.id);
  if (same) chat.current = same;
  emit("conversations");
}

/** Open an empty conversation with the role `roleId`; `quietly`: without showing it yet. */
export function startConversation(roleId = "general", { quietly = false } = {}) {
  const role = roleById(roleId);
  chat.current = {
    id: newId(), title: "", named: false, role: role.id, system: role.system, createdAt: Date.now(), updatedAt: Date.now(),
  };
  chat.messages = [];
  if (!quietly) emit("opened");
}

export async function openConversation(id) {
  const conversation = chat.conversations.find((candidate) => candidate.id === id);
  if (!conversation) return startConversation();
  const messages = await messagesOf(id);
  await endAbandonedAnswers(messages);
  chat.current = conversation;
  chat.messages = messages;
  emit("opened");
}

/** Return the stored messages, with the object of an answer on its way in place of its stored copy. */
async function messagesOf(id) {
  const running = answerOf(id)?.message;
  const messages = await store.listMessages(id);
  return messages.map((message) => (message.id === running?.id ? running : message));
}

/** An answer that nobody is writing any more (page closed, computer off) is an interrupted one. */
async function endAbandonedAnswers(messages) {
  const open = messages.filter((m) => m.role === "assistant" && versionOf(m).state === "running");
  if (open.length === 0) return;
  const held = new Set(((await navigator.locks?.query())?.held ?? []).map((lock) => lock.name));
  for (const message of open) {
    if (held.has(lockName(message)) || answerOf(message.conversation)?.message === message) continue;
    versionOf(message).state = "interrupted";
    await briefly(keep(message));
  }
}

function lockName(message) {
  return `answer:${message.id}`;
}

export async function renameConversation(id, title) {
  await changeConversation(id, { title: title.trim().slice(0, 200), named: true });
}

async function changeConversation(id, change) {
  const conversation = chat.conversations.find((candidate) => candidate.id === id);
  if (!conversation) return;
  Object.assign(conversation, change);
  await store.save(id, { conversation });
  emit("conversations");
}

/** Give the open conversation another role or its own system prompt. */
export async function setRole(roleId, system) {
  Object.assign(chat.current, { role: roleId, system });
  if (chat.messages.length > 0) await store.save(chat.current.id, { conversation: chat.current });
  emit("role");
}

/** Delete and return what `undelete` needs. */
export async function removeConversation(id) {
  const conversation = chat.conversations.find((candidate) => candidate.id === id);
  stopAnswer(id, { discard: true });
  const messages = await store.deleteConversation(id);
  chat.conversations = chat.conversations.filter((candidate) => candidate.id !== id);
  if (chat.current?.id === id) startConversation();
  emit("conversations");
  return { conversation, messages };
}

export async function undelete({ conversation, messages }) {
  await store.save(conversation.id, { conversation, messages });
  await loadConversations();
  await openConversation(conversation.id);
}

export async function removeEverything() {
  for (const id of answers.keys()) stopAnswer(id, { discard: true });
  await store.deleteEverything();
  startConversation();
  await loadConversations();
}

// ---------------------------------------------------------------- messages

/** Send what the user wrote; returns once it is stored and the answer is on its way. */
export async function send(text) {
  const { current } = chat;
  const last = chat.messages.at(-1);
  const question = {
    id: newId(), conversation: current.id, position: (last?.position ?? 0) + 1, role: "user", text, createdAt: Date.now(),
  };
  chat.messages.push(question);
  if (!current.title) current.title = titleFrom(text);
  await keepCurrent([question]);
  answerAfter(question);
}

/** Replace a question: it and all after it make way for the new one. Returns what `unreplace` needs. */
export async function resend(message, text) {
  const index = chat.messages.indexOf(message);
  const removed = chat.messages.slice(index);
  stopAnswer(chat.current.id, { discard: true });
  chat.messages.length = index;
  await briefly(store.save(chat.current.id, { removed: removed.map((one) => one.id) }));
  await send(text);
  return { conversation: chat.current.id, removed, from: index };
}

/** Undo `resend`: the messages it removed come back, those it made go. */
export async function unreplace({ conversation, removed, from }) {
  stopAnswer(conversation, { discard: true });
  const gone = (await store.listMessages(conversation)).slice(from).map((message) => message.id);
  await store.save(conversation, { messages: removed, removed: gone });
  await openConversation(conversation);
}

/** Write another version of an answer; the earlier ones stay and can be leafed through. */
export async function regenerate(message) {
  const index = chat.messages.indexOf(message);
  message.versions.push(newVersion());
  message.active = message.versions.length - 1;
  emit("message", message);
  await write(message, requestMessages(index));
}

/** Go on where an answer was stopped, cut or interrupted. */
export async function continueAnswer(message) {
  const version = versionOf(message);
  const index = chat.messages.indexOf(message);
  Object.assign(version, { state: "running", finish: null, error: null });
  await write(message, requestMessages(version.text ? index + 1 : index), version.text !== "");
}

/** Answer a question that has no answer. */
export async function answerAfter(question) {
  const message = {
    id: newId(), conversation: question.conversation, position: question.position + 1, role: "assistant",
    createdAt: Date.now(), active: 0, versions: [newVersion()],
  };
  chat.messages.push(message);
  emit("messages");
  await write(message, requestMessages(chat.messages.length - 1));
}

export async function showVersion(message, index) {
  message.active = Math.min(Math.max(index, 0), message.versions.length - 1);
  emit("message", message);
  await keep(message);
}

function keep(message) {
  return store.save(message.conversation, { messages: [message] });
}

function newVersion() {
  return { text: "", state: "running", finish: null, error: null, figures: null, createdAt: Date.now() };
}

function titleFrom(text) {
  const line = text.trim().split("\n", 1)[0].replace(/\s+/g, " ");
  const letters = Array.from(line);
  return letters.length > TITLE_LENGTH ? `${letters.slice(0, TITLE_LENGTH).join("")}…` : line;
}

/** Store the open conversation, which may be its first time, and put it on top. */
async function keepCurrent(messages) {
  const { current } = chat;
  current.updatedAt = Date.now();
  chat.conversations = [current, ...chat.conversations.filter((one) => one.id !== current.id)];
  emit("conversations");
  storing.add(current);
  await briefly(store.save(current.id, { conversation: current, messages }).finally(() => storing.delete(current)));
  askToKeep();
}

// What could not be saved meanwhile is, at the latest now.
on("storage-works", () => {
  if (chat.current && chat.messages.length > 0) store.save(chat.current.id, { conversation: chat.current, messages: chat.messages });
});

let askedToKeep = false;

/** Ask the browser, once, not to clear our data when the disk runs full. */
function askToKeep() {
  if (!askedToKeep) navigator.storage?.persist?.().catch(() => {});
  askedToKeep = true;
}

/** Return what the model gets to read: the role and the first `count` messages that say something. */
function requestMessages(count) {
  const system = chat.current.system.trim();
  const told = chat.messages
    .slice(0, count)
    .map((message) => ({ role: message.role, content: textOf(message) }))
    .filter((message) => message.content !== "");
  return system ? [{ role: "system", content: system }, ...told] : told;
}

// ---------------------------------------------------------------- one answer

/** Stop the answer of a conversation; what is there stays, unless its message is being removed. */
export function stopAnswer(conversation, { discard = false } = {}) {
  const answer = answers.get(conversation);
  if (!answer) return;
  answer.discarded = discard;
  answer.controller.abort();
}

/** Let the model write into `message` until it ends, however it ends; `continues`: it goes on with what is there. */
async function write(message, messages, continues = false) {
  const { conversation } = message;
  stopAnswer(conversation);
  const version = versionOf(message);
  const answer = {
    message, version, phase: isReady() ? "sent" : "waiting", position: null, progress: null, controller: new AbortController(),
  };
  answers.set(conversation, answer);
  const saver = savingNowAndThen(message);
  emit("answer", answer);
  emit("message", message);
  await withLock(lockName(message), async () => {
    await briefly(keep(message));
    Object.assign(version, await outcome(() => readStream(answer, requestBody(messages, continues), saver)));
  });
  saver.stop();
  if (answers.get(conversation) === answer) answers.delete(conversation);
  // A message that was removed meanwhile must not come back.
  if (!answer.discarded) await briefly(keep(message));
  emit("message", message);
  emit("answer", null);
  emit("answered", message);
}

/** Return the state, and the error, in which `work` ended. */
async function outcome(work) {
  try {
    return { ...(await work()), error: null };
  } catch (error) {
    if (error.name === "AbortError") return { state: "stopped" };
    if (error instanceof ConnectionLost) {
      ask();
      return { state: "interrupted" };
    }
    if (error instanceof ServerError) return { state: "error", error: { code: error.code, words: error.words } };
    console.error(error);
    return { state: "error", error: { code: "page", words: `${error}` } };
  }
}

/** Ask, wait and ask again while the program is not ready, and take in the stream. Returns {state, finish}. */
async function readStream(answer, body, saver) {
  const { version, controller: { signal } } = answer;
  const before = version.text;
  for (;;) {
    await whenReady(signal);
    try {
      for await (const event of streamAnswer(body, signal)) take(event, answer, saver);
      return { state: version.finish === "length" ? "length" : "done" };
    } catch (error) {
      const early = version.text === before;
      if (!(error instanceof ServerError && error.status === 503 && early)) throw error;
      await pause((error.retryAfterS ?? 2) * 1000, answer);
    }
  }
}

function requestBody(messages, continues) {
  return {
    model: server.model?.id ?? "chatglm3-6b",
    messages,
    temperature: preferences.temperature,
    top_p: preferences.topP,
    max_tokens: preferences.maxTokens,
    stream: true,
    stream_options: { include_usage: true },
    ...(continues && { continue_final_message: true }),
  };
}

/** Take one event of the stream into the answer. */
function take(event, answer, saver) {
  const { version } = answer;
  const own = event.x_oneclick ?? (event.comment?.startsWith("{") ? JSON.parse(event.comment) : null);
  if (own) takeOwn(own, answer);
  const choice = event.choices?.[0];
  if (choice?.delta?.content) {
    if (answer.phase !== "writing") enter(answer, "writing");
    version.text += choice.delta.content;
    saver.soon();
    emit("text", answer.message);
  }
  if (choice?.finish_reason) version.finish = choice.finish_reason;
  if (event.usage || event.timings) {
    version.figures = { ...version.figures, ...(event.usage && { usage: event.usage }), ...(event.timings && { timings: event.timings }) };
  }
}

function takeOwn(own, answer) {
  if (own.queue_position !== undefined && own.queue_position !== null) enter(answer, "queued", { position: own.queue_position });
  if (own.prompt_progress !== undefined && own.prompt_progress !== null) enter(answer, "reading", { progress: own.prompt_progress });
  if (own.repeating) answer.version.figures = { ...answer.version.figures, repeating: true };
  if (own.dropped_messages) answer.version.figures = { ...answer.version.figures, dropped: own.dropped_messages };
}

function enter(answer, phase, more = {}) {
  Object.assign(answer, { phase, ...more });
  emit("answer", answer);
}

/** Wait, told as "waiting", unless the answer is stopped. */
async function pause(milliseconds, answer) {
  enter(answer, "waiting");
  ask();
  const { signal } = answer.controller;
  await new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    }, { once: true });
  });
}

/** Hold a lock that tells other tabs that this answer is being written here. */
function withLock(name, work) {
  return navigator.locks ? navigator.locks.request(name, work) : work();
}

/** Save a message while it grows, so that a closed page or a dead computer costs half a second of it. */
function savingNowAndThen(message) {
  let timer = 0;
  const save = () => {
    timer = 0;
    keep(message);
  };
  const now = () => {
    if (timer) {
      clearTimeout(timer);
      save();
    }
  };
  addEventListener("pagehide", now);
  return {
    soon: () => {
      timer ||= setTimeout(save, SAVE_EVERY_MS);
    },
    stop: () => {
      clearTimeout(timer);
      removeEventListener("pagehide", now);
    },
  };
}

// ---------------------------------------------------------------- other tabs, browsers and PCs

/** Conversations that others changed while an answer was being written here: shown as they are once it ends. */
const missed = new Set();

async function takeIn(ids) {
  await loadConversations();
  const { current } = chat;
  if (!current) return;
  if (answerOf(current.id)) {
    ids.forEach((id) => missed.add(id));
    return;
  }
  const stored = chat.conversations.find((one) => one.id === current.id);
  if (!stored && chat.messages.length > 0) startConversation();
  else if (stored && ids.includes(stored.id)) {
    const messages = await messagesOf(stored.id);
    if (chat.current.id !== stored.id || answerOf(stored.id)) return;
    chat.current = stored;
    chat.messages = messages;
    emit("messages");
  }
}

store.onOtherTab(takeIn);
on("answered", ({ conversation }) => { if (missed.delete(conversation)) takeIn([conversation]); });

on("language", () => {
  if (chat.current && chat.messages.length === 0) startConversation(chat.current.role);
});

/** Return the sentence for what the answer is waiting for. */
export function phaseWords(answer) {
  if (answer.phase === "waiting") return t("phaseWaiting");
  if (answer.phase === "queued" && answer.position > 0) return t("phaseQueued", { n: answer.position });
  if (answer.phase === "reading") {
    return answer.progress > 0 ? t("phaseReadingPercent", { p: Math.round(answer.progress * 100) }) : t("phaseReading");
  }
  return answer.phase === "writing" ? t("phaseWriting") : t("phaseSent");
}
