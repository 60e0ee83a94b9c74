/** Choosing the role of a conversation, and writing roles of one's own. */

import { chat, setRole } from "./chat.js";
import { openDialog } from "./dialogs.js";
import { h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { roleBadge } from "./role-badge.js";
import { allRoles, hasRemovedRoles, removeRole, restoreRole, roleById, saveRole } from "./roles.js";

const LONGEST_PROMPT = 8000;

/** The role and the system prompt of the open conversation. */
export function openConversationRole() {
  openDialog(t("conversationRole"), (body, close) => {
    let chosen = chat.current.role;
    const prompt = h("textarea", { id: "system-prompt", class: "input", rows: "6", maxlength: LONGEST_PROMPT, placeholder: t("systemPlaceholder") });
    prompt.value = chat.current.system;
    const choose = h("select", { id: "role-choice", class: "input" }, allRoles().map((role) => h("option", { value: role.id }, role.name)));
    choose.value = chosen;
    choose.addEventListener("change", () => {
      chosen = choose.value;
      prompt.value = roleById(chosen).system;
    });
    body.append(
      h("div", { class: "field" }, h("label", { for: "role-choice" }, t("role")), choose),
      h("div", { class: "field" }, h("label", { for: "system-prompt" }, t("systemPrompt")), prompt, h("p", { class: "fine" }, t("systemHelp"))),
      h("div", { class: "row-end" },
        h("button", { type: "button", class: "button quiet", on: { click: () => { close(); openRoles(); } } }, t("editRoles")),
        h("button", { type: "button", class: "button primary", on: { click: async () => { await setRole(chosen, prompt.value.trim()); close(); } } }, t("save"))));
  }, { name: "conversation-role" });
}

/** All roles, each with its buttons. */
export function openRoles() {
  openDialog(t("editRoles"), (body, close) => {
    const edit = (role) => { close(); editRole(role).then(openRoles); };
    const show = () => body.replaceChildren(
      h("p", { class: "fine" }, t("rolesHelp")),
      h("ul", { class: "role-list" }, allRoles().map((role) => h("li", {}, roleBadge(role),
        h("span", { class: "role-words" }, h("b", {}, role.name), h("small", {}, role.hint)),
        role.edited && role.builtIn && h("button", { type: "button", class: "button small quiet", on: { click: async () => { await restoreRole(role.id); show(); } } }, t("restore")),
        h("button", { type: "button", class: "icon-button small", "aria-label": t("editOf", { name: role.name }), title: t("edit"), on: { click: () => edit(role) } }, icon("edit")),
        role.id !== "general" && h("button", { type: "button", class: "icon-button small", "aria-label": t("deleteOf", { name: role.name }), title: t("delete"), on: { click: async () => { await removeRole(role); show(); } } }, icon("trash"))))),
      h("div", { class: "row-end" },
        hasRemovedRoles() && h("button", { type: "button", class: "button quiet", on: { click: async () => { await restoreRole(); show(); } } }, t("restoreAll")),
        h("button", { type: "button", class: "button primary", on: { click: () => edit(null) } }, icon("plus"), h("span", {}, t("newRole")))));
    show();
  }, { name: "roles" });
}

/** The form of one role; `null` is a new one. Resolves when it is closed. */
function editRole(role) {
  return openDialog(t(role ? "editRole" : "newRole"), (body, close) => {
    const input = (id, tag, value, properties) => {
      const element = h(tag, { id: `role-${id}`, class: "input", autocomplete: "off", ...properties });
      element.value = value;
      return element;
    };
    const name = input("name", "input", role?.name ?? "", { required: true, maxlength: "30" });
    const hint = input("hint", "input", role?.hint ?? "", { maxlength: "80" });
    const system = input("system", "textarea", role?.system ?? "", { rows: "7", maxlength: LONGEST_PROMPT, placeholder: t("systemPlaceholder") });
    const starters = input("starters", "textarea", (role?.starters ?? []).join("\n"), { rows: "3", maxlength: "2000" });
    const field = (element, label, help) => h("div", { class: "field" }, h("label", { for: element.id }, label), element, help && h("p", { class: "fine" }, help));
    const save = async (event) => {
      event.preventDefault();
      await saveRole({
        id: role?.id, name: name.value.trim(), hint: hint.value.trim(), system: system.value.trim(),
        starters: starters.value.split("\n").map((line) => line.trim()).filter(Boolean).slice(0, 6),
      });
      close();
    };
    body.append(h("form", { on: { submit: save } },
      field(name, t("roleName")), field(hint, t("roleHint")), field(system, t("systemPrompt"), t("systemHelp")), field(starters, t("roleStarters")),
      h("div", { class: "row-end" },
        h("button", { type: "button", class: "button quiet", on: { click: close } }, t("cancel")),
        h("button", { type: "submit", class: "button primary" }, t("save")))));
  }, { name: "role" });
}
