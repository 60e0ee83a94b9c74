/** What the program on this PC is doing: asked for again and again, so that the page connects by itself. */

import { ConnectionLost, ServerError, fetchStatus } from "./api.js";
import { emit, on } from "./bus.js";

/** phase: one of the server's, or "offline" (no answer), "locked" (an API key is wanted), "unknown" (not asked yet). */
export let server = { phase: "unknown" };

const EVERY_MS = { ready: 4000, unknown: 300, offline: 1200 };
const OTHERWISE_MS = 700;
/** One failed question is a hiccup (a computer that woke up); two are an absence. */
const FAILURES_BEFORE_OFFLINE = 2;

const ANSWER_WITHIN_MS = 5000;

let timer = 0;
let failures = 0;
let asking = false;

export function isReady() {
  return server.phase === "ready";
}

/** Ask now, then go on asking. */
export async function ask() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  try {
    update(await fetchStatus(ANSWER_WITHIN_MS));
    failures = 0;
  } catch (error) {
    if (error instanceof ServerError && error.status === 401) update({ phase: "locked" });
    else if (++failures >= FAILURES_BEFORE_OFFLINE || error instanceof ConnectionLost) update({ phase: "offline" });
  } finally {
    asking = false;
  }
  const wait = EVERY_MS[server.phase] ?? OTHERWISE_MS;
  timer = setTimeout(ask, document.hidden ? Math.max(wait, 3000) : wait);
}

function update(next) {
  const before = server;
  server = next;
  if (JSON.stringify(before) === JSON.stringify(next)) return;
  emit("server", next);
  if (next.phase === "ready" && before.phase !== "ready") emit("ready");
}

/** Resolve once the model can answer; reject with AbortError when `signal` says so. */
export function whenReady(signal) {
  if (isReady() || signal.aborted) return Promise.resolve();
  return new Promise((resolve, reject) => {
    on("ready", resolve, { once: true, signal });
    signal.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")), { once: true });
  });
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) ask();
});
