/** The list of conversations: groups by day, search in titles and texts, and a menu for each. */

import { emit, on } from "./bus.js";
import { answerOf, chat, openConversation, removeConversation, renameConversation, startConversation, undelete } from "./chat.js";
import { askText } from "./dialogs.js";
import { byId, h, icon, setText } from "./dom.js";
import { pick, t } from "./i18n.js";
import { openMenu } from "./menu.js";
import { preferences, setPreference } from "./preferences.js";
import { findText, whyNotInFolder } from "./store.js";
import { toast } from "./toasts.js";
import { exportOne } from "./transfer.js";

const list = byId("conversations");
const search = byId("search");
const sidebar = byId("sidebar");
const scrim = byId("scrim");
const narrow = matchMedia("(max-width: 860px)");
const USUAL_PORT = "8000";
const DAY_MS = 86_400_000;
const SEARCH_AFTER_MS = 150;
const SNIPPET_BEFORE = 12;
const SNIPPET_LENGTH = 60;

let found = null;
let searches = 0;

async function runSearch() {
  const wanted = search.value.trim().toLowerCase();
  const mine = ++searches;
  if (wanted) await new Promise((resolve) => setTimeout(resolve, SEARCH_AFTER_MS)); // until the word is typed
  if (mine !== searches) return;
  const texts = wanted ? await findText(wanted) : null;
  if (mine !== searches) return;
  found = wanted ? { wanted, texts } : null;
  show();
}

function show() {
  const shown = chat.conversations.filter(
    (one) => !found || one.title.toLowerCase().includes(found.wanted) || found.texts.has(one.id),
  );
  const groups = new Map();
  for (const conversation of shown) {
    const group = groupOf(conversation.updatedAt);
    groups.set(group, [...(groups.get(group) ?? []), conversation]);
  }
  const focused = document.activeElement?.closest?.(".conversation")?.dataset.id;
  list.replaceChildren(
    ...[...groups].map(([group, members]) => h("section", {}, h("h2", {}, t(group)), h("ul", {}, members.map(entry)))),
    ...(shown.length === 0 ? [h("p", { class: "empty" }, emptyWords())] : []),
  );
  if (focused) list.querySelector(`[data-id="${focused}"] .conversation-open`)?.focus();
}

/** In the browser, conversations of another port than usual are not gone, only elsewhere. */
function emptyWords() {
  if (found) return t("nothingFound");
  if (!whyNotInFolder()) return t("noConversations");
  return t("noConversationsHere") + (location.port === USUAL_PORT ? "" : t("otherPort", { port: USUAL_PORT }));
}

/** Say it where conversations are not in the folder, for as long as that is so. */
function showPlace() {
  const why = whyNotInFolder();
  const place = byId("place");
  place.hidden = !why;
  setText(place, why ? `${t("keptInBrowser")} ${why.words ? pick(why.words) : t("folderAway")}` : "");
  show();
}

function groupOf(time) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (time >= today) return "today";
  if (time >= today - DAY_MS) return "yesterday";
  return time >= today - 7 * DAY_MS ? "lastWeek" : "earlier";
}

function entry(conversation) {
  const current = conversation.id === chat.current?.id;
  const snippet = found?.texts.get(conversation.id);
  const more = h("button", {
    type: "button", class: "icon-button small", "aria-label": t("menuOf", { title: conversation.title }), title: t("more"),
    "aria-haspopup": "menu", "aria-expanded": "false", on: { click: () => openMenu(more, menuItems(conversation)) },
  }, icon("more"));
  return h("li", { class: current ? "conversation current" : "conversation", "data-id": conversation.id },
    h("button", { type: "button", class: "conversation-open", "aria-current": current ? "true" : null, on: { click: () => choose(conversation.id) } },
      h("span", { class: "conversation-title" }, conversation.title || t("untitled")),
      snippet && h("small", {}, marked(snippet))),
    answerOf(conversation.id) && h("span", { class: "busy-dot", role: "img", "aria-label": t("answering") }),
    more);
}

/** Return the part of `text` around what is searched, with it marked. */
function marked(text) {
  const index = text.toLowerCase().indexOf(found.wanted);
  const start = Math.max(0, index - SNIPPET_BEFORE);
  const end = index + found.wanted.length;
  return [start > 0 ? "…" : "", text.slice(start, index), h("mark", {}, text.slice(index, end)), text.slice(end, start + SNIPPET_LENGTH)];
}

function menuItems(conversation) {
  return [
    { icon: "edit", words: t("rename"), run: () => rename(conversation) },
    { icon: "export", words: t("exportMarkdown"), run: () => exportOne(conversation, "md") },
    { icon: "export", words: t("exportJson"), run: () => exportOne(conversation, "json") },
    { icon: "trash", words: t("delete"), danger: true, run: () => remove(conversation) },
  ];
}

async function rename(conversation) {
  const title = await askText(t("rename"), t("titleLabel"), conversation.title);
  if (title?.trim()) await renameConversation(conversation.id, title);
}

async function remove(conversation) {
  const removed = await removeConversation(conversation.id).catch(() => null);
  if (!removed) toast(t("notDeleted", { title: conversation.title }), { serious: true });
  else toast(t("deleted", { title: conversation.title }), { action: t("undo"), run: () => undelete(removed) });
}

async function choose(id) {
  await openConversation(id);
  if (narrow.matches) closeDrawer();
  else byId("prompt").focus();
}

// ---------------------------------------------------------------- open and closed

function openDrawer() {
  if (!narrow.matches) {
    setPreference("sidebar", true);
    return;
  }
  sidebar.classList.add("open");
  scrim.hidden = false;
  syncInert();
  byId("new-chat").focus();
}

function closeDrawer() {
  if (!narrow.matches) {
    setPreference("sidebar", false);
    byId("sidebar-show").focus();
    return;
  }
  const hadFocus = sidebar.contains(document.activeElement);
  sidebar.classList.remove("open");
  scrim.hidden = true;
  syncInert();
  if (hadFocus) byId("sidebar-show").focus();
}

/** What cannot be seen cannot be reached with the keyboard either. */
function syncInert() {
  const drawer = narrow.matches;
  const open = drawer ? sidebar.classList.contains("open") : preferences.sidebar;
  sidebar.inert = !open;
  document.querySelector(".main").inert = drawer && open;
  byId("sidebar-show").setAttribute("aria-expanded", String(open));
}

export function newConversation() {
  if (narrow.matches) closeDrawer();
  startConversation();
  byId("prompt").focus();
}

export function focusSearch() {
  openDrawer();
  search.focus();
  search.select();
}

export function startSidebar() {
  search.addEventListener("input", runSearch);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && search.value) {
      search.value = "";
      runSearch();
      event.stopPropagation();
    }
  });
  byId("new-chat").addEventListener("click", newConversation);
  byId("new-chat-top").addEventListener("click", newConversation);
  byId("sidebar-show").addEventListener("click", openDrawer);
  byId("sidebar-hide").addEventListener("click", closeDrawer);
  scrim.addEventListener("click", closeDrawer);
  sidebar.addEventListener("keydown", (event) => { if (event.key === "Escape" && narrow.matches) closeDrawer(); });
  byId("open-settings").addEventListener("click", () => emit("open-settings"));
  byId("open-clients").addEventListener("click", () => emit("open-clients"));
  narrow.addEventListener("change", () => { sidebar.classList.remove("open"); scrim.hidden = true; syncInert(); });
  for (const event of ["conversations", "opened", "language"]) on(event, show);
  for (const event of ["place", "language"]) on(event, showPlace);
  on("answer", (answer) => { if (!answer || answer.phase === "sent" || answer.phase === "waiting") show(); });
  on("preference", (name) => { if (name === "sidebar") syncInert(); });
  syncInert();
}
