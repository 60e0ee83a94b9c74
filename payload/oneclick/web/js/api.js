/** The server's HTTP interface as the page uses it; documented in docs/api.md and at the top of server/api/app.py. */

import { preferences } from "./preferences.js";

/** A refusal or a failure with the words to show: `{zh, en}` or one bilingual string. */
export class ServerError extends Error {
  constructor(status, code, words, retryAfterS = null) {
    super(typeof words === "string" ? words : words.en);
    Object.assign(this, { status, code, words, retryAfterS });
  }
}

/** The connection broke: no server, or it went away in the middle. */
export class ConnectionLost extends Error {}

const KEPT = "oneclick-token";
/** Characters; three bytes each are less than the 64 KB that all last requests of a page may have. */
const LONGEST_LAST_WORDS = 16_000;

/**
 * Where an API key is set the page holds no token. The program opens it with "#token=..." then: kept for this tab alone,
 * and gone from the address before anybody sees or shares it.
 */
function tokenOfAddress() {
  const found = /^#token=([\w-]+)$/.exec(location.hash)?.[1];
  if (!found) return sessionStorage.getItem(KEPT) ?? "";
  history.replaceState(null, "", location.pathname + location.search);
  sessionStorage.setItem(KEPT, found);
  return found;
}

/** The run whose page was asked for a token that opens something. */
let askedForToken;
let token = document.querySelector('meta[name="oneclick-token"]')?.content || tokenOfAddress();

/** The token stands for the API key in the page that this PC's program opened; elsewhere the user has to enter the key. */
function headers(more = {}) {
  return { "X-OneClick-Token": token, ...(preferences.apiKey && { Authorization: `Bearer ${preferences.apiKey}` }), ...more };
}

async function request(path, options = {}) {
  try {
    return await fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ConnectionLost();
  }
}

/** Return the error of an answer that is not OK, in the server's own words. */
async function errorOf(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // Not our server's JSON: the status says what there is to say.
  }
  const retryAfter = Number.parseFloat(response.headers.get("Retry-After"));
  return new ServerError(
    response.status,
    error.code ?? null,
    wordsOf(error) ?? `HTTP ${response.status} ${response.statusText}`,
    Number.isFinite(retryAfter) ? retryAfter : null,
  );
}

/** Return the words of an OpenAI-style error object; our own have a Chinese line and then English. */
function wordsOf(error) {
  const [zh, ...en] = (error.message ?? "").split("\n");
  return en.length ? { zh, en: en.join("\n") } : error.message ?? null;
}

/** Return the server's /status; an AbortError when it takes longer than `withinMs`: a busy PC may just be slow. */
export async function fetchStatus(withinMs) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), withinMs);
  try {
    return await askStatus(controller.signal);
  } finally {
    clearTimeout(timer);
  }
}

async function askStatus(signal) {
  const ask = () => request("/status", { headers: headers(), signal });
  let response = await ask();
  if (response.status === 401) {
    await refreshToken();
    response = await ask();
  }
  if (!response.ok) throw await errorOf(response);
  const status = await response.json();
  const run = response.headers.get("X-OneClick-Run");
  if (status.strangers || run === askedForToken) return status;
  // The program was started anew under this page, or tells it nothing: see once which.
  askedForToken = run;
  await refreshToken();
  return (await ask()).json();
}

/** The token changes with every start of the server: take the new one from a fresh copy of this page. */
async function refreshToken() {
  const page = await (await request("/")).text();
  token = /<meta name="oneclick-token" content="([^"]*)">/.exec(page)?.[1] || token;
}

/** Ask for what only this page may, again with a new token where the program was started anew; returns the answer's JSON. */
async function askPrivately(path, method, body) {
  const ask = () =>
    request(path, {
      method,
      headers: headers(body === undefined ? {} : { "Content-Type": "application/json" }),
      body,
      // Browsers let only a little be sent by a page that is being closed.
      keepalive: document.visibilityState === "hidden" && (body?.length ?? 0) < LONGEST_LAST_WORDS,
    });
  let response = await ask();
  if (response.status === 401 || response.status === 403) {
    await refreshToken();
    response = await ask();
  }
  if (!response.ok) throw await errorOf(response);
  return response.json();
}

/** Start or pause the download of the model `model` (null: the default one). */
export async function controlDownload(action, model) {
  await askPrivately("/oneclick/download", "POST", JSON.stringify(model ? { action, model } : { action }));
}

/** Say "once", "always" or "no" to one that was turned away; return words about what failed beside it, or null. */
export async function answerStranger(kind, name, answer) {
  return (await askPrivately("/oneclick/strangers", "POST", JSON.stringify({ kind, name, answer }))).message;
}

/** Ask for the conversations in the program's folder; documented at the top of server/chats/desk.py. */
export function askChats(method, id = "", body = undefined) {
  return askPrivately(id ? `/oneclick/chats/${id}` : "/oneclick/chats", method, body);
}

/**
 * Ask for an answer and yield what comes: objects of the stream in order, `{comment}` for keep-alives.
 * Returns after `[DONE]`; throws ServerError for an error before or in the stream, ConnectionLost when
 * the stream ends without `[DONE]`, AbortError when `signal` says so.
 */
export async function* streamAnswer(body, signal) {
  const response = await request("/v1/chat/completions", {
    method: "POST",
    headers: headers({ "Content-Type": "application/json", "X-OneClick-Progress": "1" }),
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw await errorOf(response);
  yield { headers: response.headers };
  for await (const line of lines(response.body, signal)) {
    if (line.startsWith(":")) yield { comment: line.slice(1).trim() };
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new ServerError(200, event.error.code ?? null, wordsOf(event.error) ?? "error");
    yield event;
  }
  throw new ConnectionLost();
}

/** Yield the lines of a UTF-8 stream as they become whole. */
async function* lines(stream, signal) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) yield part.endsWith("\r") ? part.slice(0, -1) : part;
    }
  } catch (error) {
    if (signal.aborted) throw new DOMException("stopped", "AbortError");
    throw new ConnectionLost();
  } finally {
    reader.cancel().catch(() => {});
  }
}
