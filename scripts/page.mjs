// Bundles the report page's script and style into dist/page, from where a report takes them into its one file.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
await build({
  entryPoints: { page: at("src/report/page/main.ts"), style: at("src/report/page/style.css") },
  outdir: at("dist/page"),
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  target: "es2022",
  logLevel: "warning",
});
