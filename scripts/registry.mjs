// Writes the registries of src/ from the files of their folders: a new module is one new file.
import { readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const registries = [
  {
    folder: "attention",
    exported: "attention",
    type: 'import type { AttentionSpec } from "./spec.ts";',
    summary: "/** Attention modules by name. */",
    declaration: "attentions: ReadonlyMap<string, AttentionSpec>",
    entry: "[spec.name, spec as unknown as AttentionSpec]",
  },
  {
    folder: "cam/methods",
    exported: "method",
    type: 'import type { CamMethod } from "../spec.ts";',
    summary: "/** Methods of explanation by name. */",
    declaration: "methods: ReadonlyMap<string, CamMethod>",
    entry: "[spec.name, spec]",
  },
];

const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());

for (const { folder, exported, type, summary, declaration, entry } of registries) {
  const url = new URL(`../src/${folder}/`, import.meta.url);
  const modules = readdirSync(fileURLToPath(url))
    .filter((file) => file.endsWith(".ts") && !["registry.ts", "spec.ts"].includes(file))
    .map((file) => file.slice(0, -3))
    .sort();
  const names = modules.map(camel);
  const list = names.join(", ");
  const short = `  [${list}].map((spec) => ${entry}),`;
  const long = ["  [", ...names.map((name) => `    ${name},`), `  ].map((spec) => ${entry}),`];
  // as the formatter would have it
  const imports = modules.map((file, k) => `import { ${exported} as ${names[k]} } from "./${file}.ts";`);
  const lines = [
    "// Written by scripts/registry.mjs from the files of this folder.",
    ...(type.includes('"../') ? [type, ...imports] : [...imports, type]),
    "",
    summary,
    `export const ${declaration} = new Map(`,
    ...(short.length <= 110 ? [short] : long),
    ");",
    "",
  ];
  writeFileSync(fileURLToPath(new URL("registry.ts", url)), lines.join("\n"));
}
