// Writes src/attention/registry.ts from the files of its folder: a new module is one new file.
import { readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = new URL("../src/attention/", import.meta.url);
const modules = readdirSync(fileURLToPath(folder))
  .filter((file) => file.endsWith(".ts") && !["registry.ts", "spec.ts"].includes(file))
  .map((file) => file.slice(0, -3))
  .sort();
const lines = [
  "// Written by scripts/registry.mjs from the files of this folder.",
  ...modules.map((name) => `import { attention as ${name} } from "./${name}.ts";`),
  'import type { AttentionSpec } from "./spec.ts";',
  "",
  "/** Attention modules by name. */",
  "export const attentions: ReadonlyMap<string, AttentionSpec> = new Map(",
  `  [${modules.join(", ")}].map((spec) => [spec.name, spec as unknown as AttentionSpec]),`,
  ");",
  "",
];
writeFileSync(fileURLToPath(new URL("registry.ts", folder)), lines.join("\n"));
