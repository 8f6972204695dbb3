import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const source = join(root, "src");

/** Folders of src/ in the order in which ARCHITECTURE.md draws them. */
const drawn = (
  /\nsrc\/\n([\s\S]*?)\nnative\//.exec(readFileSync(join(root, "ARCHITECTURE.md"), "utf8"))?.[1] ?? ""
)
  .split("\n")
  .flatMap((line) => /^ {2}([a-z]+)\/ /.exec(line)?.[1] ?? []);

const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) =>
  file.endsWith(".ts"),
);
const layerOf = (file: string) => file.split("/")[0];

test("the map draws every folder once", () => {
  const folders = readdirSync(source, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect([...drawn].sort()).toEqual(folders.map(({ name }) => name).sort());
});

test("each folder imports only from those above it", () => {
  const found = files
    .filter((file) => file.includes("/"))
    .flatMap((file) => {
      const text = readFileSync(join(source, file), "utf8");
      const imports = [...text.matchAll(/^(?:import|export)\b[^;]*? from "(\.[^"]+)";/gm)];
      return imports.flatMap(([, specifier]) => {
        const to = relative(source, join(source, dirname(file), specifier));
        const below = drawn.indexOf(layerOf(to)) > drawn.indexOf(layerOf(file));
        return below && !to.startsWith("..") ? [`${file} imports ${to}`] : [];
      });
    });
  // a tensor knows the type of the op that made it, an op that of its tensors
  expect(found).toEqual(["tensor/tensor.ts imports ops/op.ts"]);
});
