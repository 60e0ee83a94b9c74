/** The page's start: connects the parts; everything else happens in them. */

import { on } from "./bus.js";
import { answerOf, chat, loadConversations, openConversation, setRole, startConversation, stopAnswer, textOf } from "./chat.js";
import { openClients } from "./clients-dialog.js";
import { startComposer } from "./composer.js";
import { byId, h, setText } from "./dom.js";
import { number, pick, t } from "./i18n.js";
import { roleBadge } from "./role-badge.js";
import { loadRoles, roleById } from "./roles.js";
import { openConversationRole, openRoles } from "./roles-dialog.js";
import { ask } from "./server-state.js";
import { openSettings } from "./settings-dialog.js";
import { focusSearch, newConversation, startSidebar } from "./sidebar.js";
import { startStateView } from "./state-view.js";
import { whyNotInFolder } from "./store.js";
import { startStrangers } from "./strangers.js";
import { startThread } from "./thread.js";
import { within } from "./time.js";
import { toast } from "./toasts.js";

const LAST = "oneclick.last";
/** After that the page is shown without the stored conversations, which come when they come. */
const LOADED_WITHIN_MS = 2000;
let opened;
/** Settled once the conversation is there that the page was opened for. */
const whenOpened = new Promise((resolve) => { opened = resolve; });

function showHeader() {
  const role = roleById(chat.current.role);
  const title = chat.current.title || t("newConversation");
  setText(byId("title"), title);
  document.title = chat.current.title ? `${title} · ChatGLM3` : "ChatGLM3";
  const edited = chat.current.system !== role.system;
  byId("role-chip").replaceChildren(roleBadge(role), h("span", {}, edited ? `${role.name} *` : role.name));
}

/** The address names the open conversation: reload, back and bookmarks work. */
function keepAddress() {
  const wanted = chat.messages.length > 0 ? `#${chat.current.id}` : "";
  if (location.hash !== wanted) history.pushState(null, "", wanted || location.pathname);
  try {
    localStorage.setItem(LAST, wanted.slice(1));
  } catch {
    // Then a new visit begins with an empty conversation.
  }
}

function announce(words) {
  setText(byId("announcer"), words);
}

function onKey(event) {
  const control = event.ctrlKey || event.metaKey;
  if (event.isComposing || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && answerOf(chat.current.id) && !document.querySelector(".menu")) stopAnswer(chat.current.id);
  else if (control && !event.shiftKey && event.key.toLowerCase() === "k") focusSearch();
  else if (control && event.shiftKey && event.key.toLowerCase() === "o") newConversation();
  else return;
  event.preventDefault();
}

function openByAddress() {
  const id = location.hash.slice(1);
  if (id === (chat.messages.length > 0 ? chat.current?.id : "")) return;
  if (id) openConversation(id);
  else startConversation();
}

async function start() {
  startThread();
  startSidebar();
  startComposer();
  startStateView();
  startStrangers();
  on("opened", () => { showHeader(); keepAddress(); });
  for (const event of ["conversations", "role", "roles", "language"]) on(event, () => chat.current && showHeader());
  on("messages", keepAddress);
  on("choose-role", (id) => setRole(id, roleById(id).system));
  on("open-roles", openRoles);
  on("open-settings", openSettings);
  on("open-clients", openClients);
  on("storage-failed", () => toast(t(whyNotInFolder() ? "storageFailed" : "rolesFailed"), { serious: true }));
  on("refused", (error) => toast(`${pick(error.words)} ${t("keptInBrowser")}`, { serious: true }));
  on("damaged", (names) => toast(t("damagedFiles", { names: names.join("、") }), { serious: true }));
  on("answer", (answer) => { if (answer?.phase === "sent" || answer?.phase === "waiting") announce(t("announceStart")); });
  on("answered", (message) => announce(t("announceEnd", { n: number(textOf(message).length) })));
  byId("role-chip").addEventListener("click", async () => {
    // A hasty click after a reload means the conversation that is about to come.
    await within(LOADED_WITHIN_MS, whenOpened);
    openConversationRole();
  });
  addEventListener("keydown", onKey);
  addEventListener("popstate", openByAddress);

  document.documentElement.dataset.started = "";
  ask();
  const wanted = location.hash.slice(1) || localStorage.getItem(LAST);
  // There is always a conversation to type into, also while the stored ones are still being read.
  startConversation("general", { quietly: Boolean(wanted) });
  const loading = Promise.all([loadRoles(), loadConversations()]);
  const late = wanted && !(await within(LOADED_WITHIN_MS, loading));
  if (late) startConversation();
  await loading;
  const written = chat.messages.length > 0 || (late && byId("prompt").value !== "");
  if (!written) {
    if (wanted) await openConversation(wanted);
    else startConversation(chat.current.role); // which the user may have chosen meanwhile
  }
  opened();
  if (!matchMedia("(pointer: coarse)").matches && !document.querySelector("dialog[open]")) byId("prompt").focus();
}

start();
