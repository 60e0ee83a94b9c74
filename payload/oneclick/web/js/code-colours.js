/** Colours in code blocks; the library and each language are loaded when a block first needs them. */

import { sanitised } from "./sanitise.js";

const LANGUAGES = {
  bash: "sh shell zsh console", c: "h", cpp: "c++ cc hpp", csharp: "c# cs", css: "", diff: "patch", dos: "bat cmd batch",
  go: "golang", ini: "toml", java: "", javascript: "js jsx mjs node", json: "json5 jsonc", kotlin: "kt", latex: "tex", lua: "",
  markdown: "md", matlab: "", php: "", powershell: "ps1 pwsh", python: "py python3 gyp", r: "", ruby: "rb", rust: "rs", sql: "mysql",
  swift: "", typescript: "ts tsx", vbnet: "vb", xml: "html xhtml svg vue", yaml: "yml",
};
/** Longer code stays plain: colouring it would hold up the page. */
const LONGEST = 30_000;
/** While code is still being written, blocks up to this length are coloured at every step. */
const LONGEST_OPEN = 4_000;

const names = new Map();
for (const [name, others] of Object.entries(LANGUAGES)) {
  for (const alias of [name, ...others.split(" ")]) names.set(alias, name);
}

const loaded = new Map();
let library = null;

async function load(name) {
  const [{ default: core }, { default: grammar }] = await Promise.all([
    import("../vendor/highlightjs/es/core.min.js"),
    import(`../vendor/highlightjs/es/languages/${name}.min.js`),
  ]);
  core.registerLanguage(name, grammar);
  library = core;
  loaded.set(name, true);
}

/** Colour `code` as `language`; unknown languages stay plain. `open`: the block is still growing. */
export function paint(code, language, open) {
  const name = names.get(language.toLowerCase());
  if (!name || code.textContent.length > (open ? LONGEST_OPEN : LONGEST)) return;
  if (loaded.get(name) === true) {
    colour(code, name);
    return;
  }
  if (!loaded.has(name)) loaded.set(name, load(name));
  loaded.get(name).then(() => colour(code, name), () => {});
}

function colour(code, name) {
  const { value } = library.highlight(code.textContent, { language: name, ignoreIllegals: true });
  code.replaceChildren(sanitised(value));
}
