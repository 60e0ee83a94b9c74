/**
 * Markdown of the model, and of imported files, as harmless DOM.
 *
 * Two walls: raw HTML is shown as text, images become links; what marked makes of the rest passes DOMPurify with
 * a short list of elements and attributes. Nothing can load, run, or look like a part of the page.
 */

import { Marked } from "../vendor/marked/lib/marked.esm.js";
import { paint } from "./code-colours.js";
import { copyText, h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { sanitised } from "./sanitise.js";

const HARMLESS_HTML = /^<\/?(?:br|sub|sup|kbd|b|i|u|mark)\s*\/?>$/i;
/** A web address ends where Chinese text or punctuation begins, whatever GFM says. */
const ADDRESS = /^https?:\/\/[^\s<>"'`\u2018-\u201d\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]+/i;
/** CommonMark's rule for `**` fails beside Chinese punctuation: `**注意:**请` would stay as it is. */
const STRONG = /^\*\*(?=[^\s*])((?:[^*\n]|\*(?!\*)|\n(?!\n)){0,500}?[^\s*])\*\*(?!\*)/;

/** Longer than any answer of the model; what a foreign file brings beyond it is shown as plain text, at once. */
const LONGEST = 40_000;

const marked = new Marked({
  gfm: true,
  breaks: true,
  extensions: [
    {
      name: "strong",
      level: "inline",
      start: (source) => source.indexOf("**"),
      tokenizer(source) {
        const match = STRONG.exec(source);
        if (!match || match[1].includes("`")) return undefined;
        return { type: "strong", raw: match[0], text: match[1], tokens: this.lexer.inlineTokens(match[1]) };
      },
    },
  ],
  tokenizer: {
    url(source) {
      const match = ADDRESS.exec(source);
      if (!match) return false;
      const address = match[0].replace(/[.,;:!?)\]}*_~]+$/, "");
      return { type: "link", raw: address, text: address, href: address, tokens: [{ type: "text", raw: address, text: address }] };
    },
  },
  renderer: {
    html({ text, block }) {
      if (HARMLESS_HTML.test(text.trim())) return text;
      return block ? `<p>${escape(text)}</p>` : escape(text);
    },
    image({ href, text }) {
      return `<a href="${escape(href)}" title="image">${escape(text || href)}</a>`;
    },
  },
});

function escape(text) {
  return text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

/**
 * Shows a text that grows: blocks that did not change keep their nodes, so that nothing jumps and a selection
 * stays; only the end is made again.
 */
export class MarkdownView {
  constructor(element) {
    this.element = element;
    this.blocks = [];
  }

  /** Show `text`; `growing` while more of it will come. */
  update(text, growing = false) {
    const tokens = lexed(text);
    if (tokens === null) {
      this.blocks = [];
      this.element.replaceChildren(h("p", { class: "as-is" }, text));
      return;
    }
    const shown = tokens.filter((token) => token.type !== "space" && token.type !== "def");
    const links = JSON.stringify(tokens.links);
    if (this.growCode(shown, links, growing)) return;
    const same = links === this.links ? this.countSame(shown, growing) : 0;
    this.links = links;
    for (const block of this.blocks.splice(same)) block.nodes.forEach((node) => node.remove());
    for (const [offset, token] of shown.slice(same).entries()) {
      const last = same + offset === shown.length - 1;
      const fragment = this.render(token, tokens.links, growing && last);
      const nodes = [...fragment.childNodes];
      this.element.append(fragment);
      this.blocks.push({ raw: token.raw, open: growing && last, lang: token.type === "code" ? token.lang : null, nodes });
    }
  }

  /** A code block that only got longer keeps its frame, and with it its scroll position and its button. */
  growCode(tokens, links, growing) {
    const index = this.blocks.length - 1;
    const [block, token] = [this.blocks[index], tokens[index]];
    const grew = growing && links === this.links && tokens.length === index + 1 && block?.open && block.raw !== token.raw;
    if (!grew || token.type !== "code" || block.lang !== token.lang || block.lang === null) return false;
    if (this.countSame(tokens.slice(0, index), growing) !== index) return false;
    const code = block.nodes[0].querySelector("pre > code");
    code.textContent = `${token.text}\n`;
    paint(code, token.lang ?? "", true);
    block.raw = token.raw;
    return true;
  }

  countSame(tokens, growing) {
    let count = 0;
    while (count < tokens.length && this.blocks[count]?.raw === tokens[count].raw) {
      const last = count === this.blocks.length - 1 && count === tokens.length - 1;
      if (this.blocks[count].open && !(growing && last)) break;
      count += 1;
    }
    return count;
  }

  render(token, links, open) {
    const list = [token];
    list.links = links;
    const fragment = sanitised(parsed(list, token.raw));
    for (const link of fragment.querySelectorAll("a")) finishLink(link);
    for (const table of fragment.querySelectorAll("table")) finishTable(table);
    for (const code of fragment.querySelectorAll("pre > code")) finishCode(code, open);
    for (const box of fragment.querySelectorAll("input")) box.setAttribute("aria-label", t("checkbox"));
    return fragment;
  }
}

function parsed(tokens, raw) {
  try {
    return marked.parser(tokens);
  } catch {
    return `<p>${escape(raw)}</p>`;
  }
}

/** Return the tokens of `text`; null where Markdown is too long, or nested too deep for the parser. */
function lexed(text) {
  if (text.length > LONGEST) return null;
  try {
    return marked.lexer(text);
  } catch {
    return null;
  }
}

/** Links open beside the page and tell the other side nothing; an image is a link that says so. */
function finishLink(link) {
  if (!link.hasAttribute("href")) {
    link.replaceWith(...link.childNodes);
    return;
  }
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  if (link.title === "image") {
    link.prepend(h("span", { class: "image-link" }, `${t("imageLink")} `));
    link.title = link.href;
  }
}

function finishTable(table) {
  const frame = h("div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": t("table") });
  table.replaceWith(frame);
  frame.append(table);
}

function finishCode(code, open) {
  const language = /language-([\w+#.-]+)/.exec(code.className)?.[1] ?? "";
  code.className = "";
  const pre = code.parentElement;
  const copy = h("button", { type: "button", class: "code-copy" }, icon("copy"), h("span", {}, t("copy")));
  copy.addEventListener("click", () => confirmCopy(copy, code.textContent.replace(/\n$/, "")));
  const frame = h("div", { class: "code-frame" }, h("div", { class: "code-head" }, h("span", {}, language || t("code")), copy));
  pre.replaceWith(frame);
  pre.tabIndex = 0;
  pre.setAttribute("role", "region");
  pre.setAttribute("aria-label", t("code"));
  frame.append(pre);
  paint(code, language, open);
}

/** Copy and show on the button that it was done. */
export async function confirmCopy(button, text) {
  const done = await copyText(text);
  const label = button.querySelector("span");
  const before = label?.textContent;
  button.classList.add("done");
  button.querySelector("use").setAttribute("href", done ? "#i-check" : "#i-warn");
  if (label) label.textContent = t(done ? "copied" : "copyFailed");
  setTimeout(() => {
    button.classList.remove("done");
    button.querySelector("use").setAttribute("href", "#i-copy");
    if (label) label.textContent = before;
  }, 1600);
}
