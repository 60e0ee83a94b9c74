/** Conversations as files, out and in. Every imported value is checked: a file from elsewhere is hostile. */

import { emit } from "./bus.js";
import { loadConversations } from "./chat.js";
import { newId, saveFile } from "./dom.js";
import { t } from "./i18n.js";
import { listConversations, listMessages, save } from "./store.js";

const FORMAT = "chatglm-oneclick-conversations";
const LARGEST_FILE_BYTES = 64 * 1024 * 1024;
const LONGEST_TEXT = 1_000_000;
const LONGEST_TITLE = 200;
/** Stands before every message of a Markdown export, so that it can be read back exactly. */
const MARKER = /^<!-- message: (user|assistant) -->$/;
const ESCAPED_MARKER = /^(\\*<!-- message: )/;

/** A file that cannot be imported, with the key of the words that say why. */
export class ImportError extends Error {}

function plain(conversation, messages) {
  return {
    title: conversation.title,
    system: conversation.system,
    createdAt: new Date(conversation.createdAt).toISOString(),
    updatedAt: new Date(conversation.updatedAt).toISOString(),
    messages: messages.map((message) => ({
      role: message.role,
      text: message.role === "user" ? message.text : message.versions[message.active].text,
      ...(message.versions?.length > 1 && { versions: message.versions.map((version) => version.text), active: message.active }),
      createdAt: new Date(message.createdAt).toISOString(),
    })),
  };
}

export function toJson(pairs) {
  const conversations = pairs.map(([conversation, messages]) => plain(conversation, messages));
  return `${JSON.stringify({ format: FORMAT, version: 1, exportedAt: new Date().toISOString(), conversations }, null, 2)}\n`;
}

export function toMarkdown(conversation, messages) {
  const { title, system, messages: told } = plain(conversation, messages);
  const lines = [`# ${title.replace(/\n/g, " ") || t("untitled")}`, ""];
  if (system) lines.push(...system.split("\n").map((line) => `> ${line}`), "");
  for (const { role, text } of told) {
    lines.push(`<!-- message: ${role} -->`, `## ${t(role === "user" ? "you" : "assistantName")}`, "");
    lines.push(...text.split("\n").map((line) => line.replace(ESCAPED_MARKER, "\\$1")), "");
  }
  return lines.join("\n");
}

export async function exportOne(conversation, kind) {
  const messages = await listMessages(conversation.id);
  const name = fileName(conversation.title);
  if (kind === "md") saveFile(`${name}.md`, toMarkdown(conversation, messages), "text/markdown");
  else saveFile(`${name}.json`, toJson([[conversation, messages]]), "application/json");
}

export async function exportAll() {
  const conversations = await listConversations();
  const pairs = await Promise.all(conversations.map(async (one) => [one, await listMessages(one.id)]));
  saveFile(`ChatGLM3-${new Date().toISOString().slice(0, 10)}.json`, toJson(pairs), "application/json");
}

function fileName(title) {
  return Array.from(title.replace(/[\\/:*?"<>|\u0000-\u001f]/g, " ").trim()).slice(0, 40).join("") || "ChatGLM3";
}

/** Import the files the user chose; returns how many conversations came. Throws ImportError. */
export async function importFiles(files) {
  let count = 0;
  for (const file of files) {
    if (file.size > LARGEST_FILE_BYTES) throw new ImportError("importTooLarge");
    const text = await file.text();
    const conversations = /\.(md|markdown|txt)$/i.test(file.name) ? [fromMarkdown(text)] : fromJson(text);
    for (const { conversation, messages } of conversations) await save(conversation.id, { conversation, messages });
    count += conversations.length;
  }
  await loadConversations();
  emit("imported", count);
  return count;
}

export function fromJson(text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new ImportError("importNotJson");
  }
  if (data?.format !== FORMAT || !Array.isArray(data.conversations)) throw new ImportError("importUnknown");
  if (!(data.version <= 1)) throw new ImportError("importNewer");
  return data.conversations.map((one) =>
    checked(string(one?.title, LONGEST_TITLE), string(one?.system), time(one?.createdAt), time(one?.updatedAt),
      Array.isArray(one?.messages) ? one.messages : []));
}

/** Read a Markdown export; any other Markdown becomes one question that holds it. */
export function fromMarkdown(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const starts = lines.flatMap((line, index) => (MARKER.test(line) ? [index] : []));
  const head = lines.slice(0, starts[0] ?? 0);
  const title = /^# (.*)$/.exec(lines[0])?.[1] ?? t("imported");
  const system = head.filter((line) => line.startsWith("> ")).map((line) => line.slice(2)).join("\n");
  const messages = starts.map((start, index) => ({
    role: MARKER.exec(lines[start])[1],
    // After the marker: the heading and an empty line; before the next marker: an empty line.
    text: lines.slice(start + 3, (starts[index + 1] ?? lines.length) - 1).map((line) => line.replace(/^\\(\\*<!-- message: )/, "$1")).join("\n"),
  }));
  const told = starts.length > 0 ? messages : [{ role: "user", text }];
  return checked(string(title, LONGEST_TITLE), string(system), Date.now(), Date.now(), told);
}

/** Return what the store takes, made of checked values only; ids are new, so that nothing is overwritten. */
function checked(title, system, createdAt, updatedAt, messages) {
  const id = newId();
  const conversation = { id, title, named: true, role: "general", system, createdAt, updatedAt };
  const told = messages.filter((one) => one?.role === "user" || one?.role === "assistant");
  return { conversation, messages: told.map((one, index) => checkedMessage(one, id, index + 1)) };
}

function checkedMessage(one, conversation, position) {
  const base = { id: newId(), conversation, position, role: one.role, createdAt: time(one.createdAt) };
  if (one.role === "user") return { ...base, text: string(one.text) };
  const texts = Array.isArray(one.versions) && one.versions.length > 0 ? one.versions.slice(0, 50).map((text) => string(text)) : [string(one.text)];
  const active = Number.isInteger(one.active) && one.active >= 0 && one.active < texts.length ? one.active : texts.length - 1;
  const versions = texts.map((text) => ({ text, state: "done", finish: null, error: null, figures: null, createdAt: base.createdAt }));
  return { ...base, active, versions };
}

function string(value, longest = LONGEST_TEXT) {
  return typeof value === "string" ? value.slice(0, longest) : "";
}

function time(value) {
  const parsed = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isFinite(parsed) ? Math.min(parsed, Date.now()) : Date.now();
}
