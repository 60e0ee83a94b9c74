/** The second wall: only these elements and attributes ever reach the page from a model or a file. */

import DOMPurify from "../vendor/dompurify/dist/purify.es.mjs";

const PURIFY = {
  ALLOWED_TAGS: [
    "a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "input", "kbd", "li",
    "mark", "ol", "p", "pre", "s", "span", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul", "#text",
  ],
  ALLOWED_ATTR: ["align", "checked", "class", "disabled", "href", "start", "title", "type"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  // The rule for addresses is asked for every attribute that is not in this list.
  ADD_URI_SAFE_ATTR: ["align", "start", "type"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

DOMPurify.addHook("uponSanitizeAttribute", (node, data) => {
  if (data.attrName === "class") data.keepAttr = /^(?:language-[\w+#.-]{1,20}|hljs-[\w -]{1,60})$/.test(data.attrValue);
  if (data.attrName === "type") data.keepAttr = node.nodeName === "INPUT" && data.attrValue === "checkbox";
});

DOMPurify.addHook("afterSanitizeElements", (node) => {
  if (node.nodeName === "INPUT" && node.getAttribute("type") !== "checkbox") node.remove();
});

/** Return `html` as a fragment of harmless nodes. */
export function sanitised(html) {
  return DOMPurify.sanitize(html, PURIFY);
}
