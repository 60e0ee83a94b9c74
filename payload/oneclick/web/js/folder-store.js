/**
 * Conversations in the program's folder 对话, one file each, through the server (server/chats/desk.py).
 *
 * A save names the revision it was made from. Where another tab, browser or PC was faster the server says 409: then the
 * file is read again, and only what was changed here is put into it.
 */

import { askChats } from "./api.js";

const CHANGED_MEANWHILE = 409;
const GONE = 404;
const ATTEMPTS = 20;
/** Two that always meet would go on meeting: each waits for another while. */
const PAUSE_MS = 20;
const NEW = { revision: null, conversation: {}, messages: [] };

/** id -> {revision, conversation, at}: what the folder holds, as last heard; no conversation: it was deleted here. */
const heads = new Map();
/** Counts what was saved and deleted here: an answer that was on its way meanwhile does not know of it. */
let clock = 0;
/** id -> {revision, conversation, messages}: what was read or written here; never shared with anybody who changes it. */
const known = new Map();
/** id -> {changes, running}: what waits to be saved while an earlier save is on its way. */
const queues = new Map();
/** Conversations into which somebody else's changes were taken while saving, and that were not told yet. */
const merged = new Set();

/** Ask what the folder holds; returns the names of files that cannot be read. */
export async function list() {
  const asked = clock;
  const { chats, damaged } = await askChats("GET");
  for (const [id, { at }] of heads) if (at <= asked) heads.delete(id);
  for (const { revision, ...conversation } of chats) {
    if (!heads.has(conversation.id)) heads.set(conversation.id, { revision, conversation, at: 0 });
  }
  return damaged;
}

export function conversations() {
  return [...heads.values()].filter(({ conversation }) => conversation).map(({ conversation }) => ({ ...conversation }));
}

export function has(id) {
  return Boolean(heads.get(id)?.conversation);
}

/** Return the messages of a conversation, once all is saved; as last known where it cannot be read now. */
export async function messagesOf(id) {
  await queues.get(id)?.running.catch(() => {});
  if (!has(id)) return [];
  const { messages } = await read(id).catch((error) => known.get(id) ?? Promise.reject(error));
  return JSON.parse(JSON.stringify(messages));
}

async function read(id) {
  const found = await askChats("GET", id);
  known.set(id, found);
  return found;
}

/** Return the ids of conversations that somebody else changed since they were read here. */
export function changedElsewhere() {
  return [...known.keys()].filter((id) => !queues.has(id) && heads.get(id)?.revision !== known.get(id).revision);
}

/** Return, once, whether saving the conversation brought somebody else's changes. */
export function wasMerged(id) {
  return merged.delete(id);
}

/** Make `change` (see store.js) to a conversation; several that come while one is being saved become one. */
export function save(id, change) {
  const queue = queues.get(id) ?? { changes: [], running: null };
  queues.set(id, queue);
  queue.changes.push(change);
  queue.running ??= drain(id, queue);
  return queue.running;
}

async function drain(id, queue) {
  try {
    while (queue.changes.length > 0) await write(id, together(queue.changes.splice(0)));
  } finally {
    queues.delete(id);
  }
}

async function write(id, change) {
  for (let attempt = 1; ; attempt++) {
    const base = known.get(id) ?? (change.messages.length > 0 ? NEW : await read(id));
    const body = JSON.stringify({ ...applied(base, change), revision: base.revision });
    try {
      const { revision } = await askChats("PUT", id, body);
      const saved = { ...JSON.parse(body), revision };
      known.set(id, saved);
      heads.set(id, { revision, conversation: saved.conversation, at: ++clock });
      return;
    } catch (error) {
      if (error.status !== CHANGED_MEANWHILE || attempt === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * PAUSE_MS * attempt));
      rebase(change, base, await readAgain(id, base));
      merged.add(id);
    }
  }
}

/** Return the newest version; of a conversation that was deleted elsewhere what is known of it, to be made anew. */
async function readAgain(id, base) {
  try {
    return await read(id);
  } catch (error) {
    if (error.status !== GONE) throw error;
    known.set(id, { ...base, revision: null });
    return known.get(id);
  }
}

/** Move a conversation to the trash. */
export async function remove(id) {
  await queues.get(id)?.running.catch(() => {});
  await askChats("DELETE", id);
  known.delete(id);
  heads.set(id, { revision: null, conversation: null, at: ++clock });
}

/** Return conversation id -> the text around `wanted`. */
export async function findText(wanted) {
  const { found } = await askChats("POST", "", JSON.stringify({ find: wanted }));
  return new Map(found.map(({ id, text }) => [id, text]));
}

/** Return `change` with all that is known of the conversation: whoever keeps it needs nothing else. */
export function whole(id, change) {
  const base = known.get(id);
  return base ? { ...change, ...applied(base, together([change])) } : change;
}

function together(changes) {
  const messages = new Map();
  const removed = new Set();
  let conversation;
  for (const change of changes) {
    conversation = change.conversation ?? conversation;
    for (const id of change.removed ?? []) {
      messages.delete(id);
      removed.add(id);
    }
    for (const message of change.messages ?? []) {
      messages.set(message.id, message);
      removed.delete(message.id);
    }
  }
  return { conversation, messages: [...messages.values()], removed };
}

function applied({ conversation, messages }, change) {
  const all = new Map(messages.filter(({ id }) => !change.removed.has(id)).map((message) => [message.id, message]));
  for (const message of change.messages) all.set(message.id, message);
  return { conversation: { ...conversation, ...change.conversation }, messages: inOrder([...all.values()]) };
}

export function inOrder(messages) {
  return messages.sort((a, b) => a.position - b.position || a.createdAt - b.createdAt);
}

/**
 * Make `change`, which was made from `base`, fit `fresh`: what only the others changed stays theirs. Of what was never read
 * here the head that is newer counts, and the answer that is longer. Changed in place, as the page saves the same objects
 * again: an answer takes its position from its question, and a later save must not undo this.
 */
function rebase(change, base, fresh) {
  const unread = base.revision === null;
  const head = change.conversation;
  const isOld = unread && fresh.conversation.updatedAt > head?.updatedAt;
  for (const [name, value] of Object.entries(fresh.conversation)) {
    if (head && (isOld || head[name] === base.conversation[name])) head[name] = value;
  }
  const theirs = new Map(fresh.messages.map((message) => [message.id, message]));
  const before = new Set(base.messages.map(({ id }) => id));
  // Ours come after theirs.
  const ours = change.messages.filter(({ id }) => !theirs.has(id) && !before.has(id));
  const last = Math.max(0, ...fresh.messages.filter(({ id }) => !before.has(id)).map(({ position }) => position));
  const first = Math.min(...ours.map(({ position }) => position));
  if (!unread && first <= last) ours.forEach((message) => { message.position += last + 1 - first; });
  change.messages = change.messages.map((message) => {
    const other = theirs.get(message.id);
    return unread && other && length(other) > length(message) ? withVersionsOf(message, other) : withVersionsOf(other, message);
  });
}

function length({ text = "", versions = [] }) {
  return versions.reduce((sum, version) => sum + version.text.length, text.length);
}

/** Return `message`, with the versions of an answer that only the other copy has. */
function withVersionsOf(other, message) {
  const own = new Set(message.versions?.map(({ createdAt }) => createdAt));
  message.versions?.push(...(other?.versions ?? []).filter(({ createdAt }) => !own.has(createdAt)));
  return message;
}
