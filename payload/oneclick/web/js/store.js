/**
 * What is kept: conversations in the program's folder, and in this browser as long as the folder cannot have them; what
 * the browser holds moves to the folder once that works. Nothing of a conversation ever leaves this PC.
 *
 * conversation {id, title, named, role, system, createdAt, updatedAt}   named: the user chose the title
 * message      {id, conversation, position, role: "user"|"assistant", createdAt,
 *               text | (active, versions: [{text, state, finish, error, figures, createdAt}])}
 * role         {id, name, hint, system, starters: [text], removed}      only what the user changed or added; in the browser
 * change       {conversation, messages, removed: [id]}                  each may be missing
 */

import * as browser from "./browser-store.js";
import { emit, on } from "./bus.js";
import * as folder from "./folder-store.js";
import { within } from "./time.js";

export { deleteRole, listRoles, putRole } from "./browser-store.js";

const channel = typeof BroadcastChannel === "function" ? new BroadcastChannel("oneclick-chat") : null;
/** While the folder cannot be had it is tried again this often, besides whenever somebody looks. */
const AGAIN_MS = 20_000;
/** Statuses of a program that never lets this page at its folder. */
const NEVER = new Set([401, 403, 404]);
/** Statuses that are about one conversation (too long, odd, damaged), not about the folder. */
const ABOUT_ONE = new Set([400, 413, 422]);

/** Why conversations are in the browser, null while they are in the folder. */
let trouble = null;
/** Ids of conversations that the browser holds. */
const held = new Set();
/** Those of them that the folder would not take whatever one does. */
const refused = new Set();
const damaged = new Set();
let lookedForHeld = false;
let moving = null;
let timer = 0;
let tellChat = () => {};
/** The list waits that long for what moves from the browser to the folder. */
const MOVED_WITHIN_MS = 1000;

export function whyNotInFolder() {
  return trouble;
}

function setTrouble(error) {
  const before = trouble;
  trouble = error;
  clearTimeout(timer);
  if (error && !NEVER.has(error.status)) timer = setTimeout(look, AGAIN_MS);
  if (!before !== !trouble || before?.code !== trouble?.code) emit("place");
}

function changed(id) {
  channel?.postMessage({ conversation: id });
}

/** Tell `listener([conversation id])` about changes that another tab, browser or PC made. */
export function onOtherTab(listener) {
  tellChat = listener;
  channel?.addEventListener("message", ({ data }) => listener(data?.conversation ? [data.conversation] : []));
}

export async function listConversations() {
  try {
    tellDamaged(await folder.list());
    if (!lookedForHeld) await within(MOVED_WITHIN_MS, moveToFolder());
  } catch (error) {
    setTrouble(error);
  }
  const own = trouble || held.size > 0 ? await browser.listConversations() : [];
  const ids = new Set(own.map(({ id }) => id));
  const all = [...own, ...folder.conversations().filter(({ id }) => !ids.has(id))];
  return all.sort((a, b) => b.updatedAt - a.updatedAt);
}

/** Tell once about files that cannot be read. */
function tellDamaged(names) {
  const fresh = names.filter((name) => !damaged.has(name));
  for (const name of fresh) damaged.add(name);
  if (fresh.length > 0) emit("damaged", fresh);
}

export async function listMessages(id) {
  const messages = new Map();
  try {
    for (const message of await folder.messagesOf(id)) messages.set(message.id, message);
  } catch (error) {
    fail(error, id);
  }
  if (trouble || held.has(id)) {
    for (const message of await browser.listMessages(id)) messages.set(message.id, message);
  }
  return folder.inOrder([...messages.values()]);
}

/** Take note of a failure of the folder; one that is about a single conversation is told at once. */
function fail(error, id = null) {
  if (!ABOUT_ONE.has(error.status)) setTrouble(error);
  else if (!refused.has(id)) {
    refused.add(id);
    emit("refused", error);
  }
}

/** Make `change` to the conversation `id`; where the folder cannot have it the browser keeps all that is known of it. */
export async function save(id, change) {
  if ((!trouble || moving) && !refused.has(id)) {
    try {
      await folder.save(id, change);
      changed(id);
      if (folder.wasMerged(id)) tellChat([id]);
      return;
    } catch (error) {
      if (error.code === "no_such_chat") return; // deleted elsewhere, and nothing was said here that would be lost
      fail(error, id);
    }
  }
  held.add(id);
  await browser.put(folder.whole(id, change));
  changed(id);
}

/** Delete a conversation and return its messages. Throws when the folder keeps it. */
export async function deleteConversation(id) {
  const messages = await listMessages(id);
  if (folder.has(id)) await folder.remove(id);
  if (trouble || held.has(id)) await browser.deleteConversation(id);
  changed(null);
  return messages;
}

export async function deleteEverything() {
  for (const { id } of folder.conversations()) await folder.remove(id);
  await browser.deleteEverything();
  changed(null);
}

/** Return conversation id -> text that contains `wanted` (lower case). */
export async function findText(wanted) {
  const own = trouble || held.size > 0 ? await browser.findText(wanted) : new Map();
  try {
    return new Map([...(await folder.findText(wanted)), ...own]);
  } catch (error) {
    fail(error);
    return own;
  }
}

/** Move what the browser holds to the folder: after an update all of it, later what came while the folder was away. */
function moveToFolder() {
  moving ??= moveAll().catch(fail).finally(() => { moving = null; });
  return moving;
}

async function moveAll() {
  const own = await browser.listConversations();
  lookedForHeld = true;
  for (const { id } of own) held.add(id);
  for (const conversation of own) {
    const { id } = conversation;
    try {
      await folder.save(id, { conversation, messages: await browser.listMessages(id) });
    } catch (error) {
      if (!ABOUT_ONE.has(error.status)) throw error;
      fail(error, id);
      continue;
    }
    await browser.deleteConversation(id);
    held.delete(id);
  }
  setTrouble(null);
  if (own.length > 0) {
    changed(null);
    tellChat([]);
  }
}

/** Look whether the folder works again, and what others did in it. */
async function look() {
  if (document.hidden) return;
  try {
    await folder.list();
  } catch (error) {
    setTrouble(error);
    return;
  }
  if (trouble) {
    await moveToFolder();
    if (!trouble) emit("storage-works");
  }
  tellChat(folder.changedElsewhere());
}

addEventListener("focus", look);
document.addEventListener("visibilitychange", look);
on("server", ({ phase }) => { if (trouble && phase !== "offline" && phase !== "unknown") look(); });
