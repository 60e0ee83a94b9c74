/**
 * Conversations, messages and roles in IndexedDB. Nothing of a conversation ever leaves this browser.
 *
 * conversation {id, title, named, role, system, createdAt, updatedAt}   named: the user chose the title
 * message      {id, conversation, position, role: "user"|"assistant", createdAt,
 *               text | (active, versions: [{text, state, finish, error, figures, createdAt}])}
 * role         {id, name, hint, system, starters: [text], removed}      only what the user changed or added
 */

import { emit } from "./bus.js";

const NAME = "oneclick-chat";
const VERSION = 1;

let opening = null;
let told = false;
const channel = typeof BroadcastChannel === "function" ? new BroadcastChannel(NAME) : null;

function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      const database = request.result;
      database.createObjectStore("conversations", { keyPath: "id" });
      database.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
      database.createObjectStore("roles", { keyPath: "id" });
    };
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });
  return opening;
}

/** Run `work(transaction)` and return what its request gave; a browser that refuses to store is told of once. */
async function transact(stores, mode, work, otherwise) {
  try {
    const database = await open();
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(stores, mode);
      const request = work(transaction);
      transaction.oncomplete = () => resolve(request?.result ?? otherwise);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  } catch (error) {
    if (!told) emit("storage-failed", error);
    told = true;
    return otherwise;
  }
}

function changed(conversation) {
  channel?.postMessage({ conversation });
}

/** Tell `listener(conversation id or null)` about changes that another tab made. */
export function onOtherTab(listener) {
  channel?.addEventListener("message", (event) => listener(event.data?.conversation ?? null));
}

export async function listConversations() {
  const all = await transact("conversations", "readonly", (t) => t.objectStore("conversations").getAll(), []);
  return all.sort((a, b) => b.updatedAt - a.updatedAt);
}

export async function listMessages(conversation) {
  const find = (t) => t.objectStore("messages").index("conversation").getAll(conversation);
  const all = await transact("messages", "readonly", find, []);
  return all.sort((a, b) => a.position - b.position);
}

export async function putConversation(conversation) {
  await transact("conversations", "readwrite", (t) => t.objectStore("conversations").put(conversation));
  changed(conversation.id);
}

/** Save `messages` and, in the same transaction, remove those with the ids `removed`. */
export async function putMessages(messages, removed = []) {
  await transact("messages", "readwrite", (t) => {
    const store = t.objectStore("messages");
    for (const id of removed) store.delete(id);
    for (const message of messages) store.put(message);
  });
  const conversation = messages[0]?.conversation;
  if (conversation) changed(conversation);
}

/** Save a whole conversation at once: all of it or nothing. */
export async function putWhole(conversation, messages) {
  await transact(["conversations", "messages"], "readwrite", (t) => {
    t.objectStore("conversations").put(conversation);
    for (const message of messages) t.objectStore("messages").put(message);
  });
  changed(conversation.id);
}

/** Delete a conversation and return its messages; one transaction, so that none can come in between and stay. */
export async function deleteConversation(id) {
  const remove = (t) => {
    t.objectStore("conversations").delete(id);
    const store = t.objectStore("messages");
    const found = store.index("conversation").getAll(id);
    found.onsuccess = () => found.result.forEach((message) => store.delete(message.id));
    return found;
  };
  const messages = await transact(["conversations", "messages"], "readwrite", remove, []);
  changed(null);
  return messages.sort((a, b) => a.position - b.position);
}

export async function deleteEverything() {
  await transact(["conversations", "messages"], "readwrite", (t) => {
    t.objectStore("conversations").clear();
    t.objectStore("messages").clear();
  });
  changed(null);
}

/** Return conversation id -> the text of its newest message that contains `wanted` (lower case). */
export async function findText(wanted) {
  const found = new Map();
  const all = await transact("messages", "readonly", (t) => t.objectStore("messages").getAll(), []);
  for (const message of all.sort((a, b) => b.position - a.position)) {
    if (found.has(message.conversation)) continue;
    const texts = message.role === "user" ? [message.text] : message.versions.map((version) => version.text);
    const text = texts.find((candidate) => candidate.toLowerCase().includes(wanted));
    if (text !== undefined) found.set(message.conversation, text);
  }
  return found;
}

export async function listRoles() {
  return transact("roles", "readonly", (t) => t.objectStore("roles").getAll(), []);
}

export async function putRole(role) {
  await transact("roles", "readwrite", (t) => t.objectStore("roles").put(role));
}

export async function deleteRole(id) {
  await transact("roles", "readwrite", (t) => t.objectStore("roles").delete(id));
}
