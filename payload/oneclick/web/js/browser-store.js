/** What this browser keeps, in IndexedDB: the roles, and conversations as long as the folder cannot have them. */

import { emit } from "./bus.js";
import { within } from "./time.js";

const NAME = "oneclick-chat";
const VERSION = 1;

/** A browser on a busy PC may take seconds; one that takes longer is asked again on a new connection. */
const PATIENCE_MS = 5000;
const PAUSE_MS = 300;
const ATTEMPTS = 3;

let connection = null;
let told = false;

/** One opening of the database; `opened` is its database, or fails. */
class Connection {
  constructor() {
    this.opened = new Promise((resolve, reject) => {
      this.giveUp = () => reject(new Error("the browser's storage does not answer"));
      const request = indexedDB.open(NAME, VERSION);
      request.onupgradeneeded = () => {
        const database = request.result;
        database.createObjectStore("conversations", { keyPath: "id" });
        database.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
        database.createObjectStore("roles", { keyPath: "id" });
      };
      request.onsuccess = () => {
        if (connection !== this) request.result.close();
        // Another tab wants to change or delete the database, or the browser let go of it: the next use opens it again.
        request.result.onversionchange = request.result.onclose = () => this.drop();
        resolve(request.result);
      };
      request.onerror = () => reject(request.error);
    });
  }

  /** Let the next use open another one; what was begun on this one still comes to its end. */
  drop() {
    if (connection === this) connection = null;
    this.giveUp();
    this.opened.then((database) => database.close(), () => {});
  }

  /** Run `work(transaction)` once and return what its request gave. */
  async run(stores, mode, work, otherwise) {
    const database = await this.opened;
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(stores, mode);
      const request = work(transaction);
      transaction.oncomplete = () => resolve(request?.result ?? otherwise);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }
}

/**
 * Run `work(transaction)` and return what its request gave, or `otherwise` from a browser that refuses to store.
 * What fails or does not come back is done again, so `work` must be one that may happen twice. Trouble is told as
 * "storage-failed" once, its end as "storage-works".
 */
async function transact(stores, mode, work, otherwise) {
  const runs = [];
  const first = () => Promise.any(runs);
  for (;;) {
    connection ??= new Connection();
    const used = connection;
    runs.push(used.run(stores, mode, work, otherwise));
    const back = await within(PATIENCE_MS, first().then(() => "done", () => "failed"));
    if (back === "done") break;
    used.drop();
    if (runs.length === ATTEMPTS) {
      if (!told) emit("storage-failed");
      told = true;
      return first().catch(() => otherwise);
    }
    if (back === "failed") await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  if (told) emit("storage-works");
  told = false;
  return first();
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

/** Save `change` (see store.js) in one transaction: all of it or nothing. */
export async function put({ conversation, messages = [], removed = [] }) {
  await transact(["conversations", "messages"], "readwrite", (t) => {
    if (conversation) t.objectStore("conversations").put(conversation);
    const store = t.objectStore("messages");
    for (const id of removed) store.delete(id);
    for (const message of messages) store.put(message);
  });
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
  return messages.sort((a, b) => a.position - b.position);
}

export async function deleteEverything() {
  await transact(["conversations", "messages"], "readwrite", (t) => {
    t.objectStore("conversations").clear();
    t.objectStore("messages").clear();
  });
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
