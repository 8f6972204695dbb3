// Builds the native engine unless it is up to date. Without a compiler the installation still succeeds and the
// reference engine serves; with --required it does not.
import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { builtFrom, fingerprint, stampOf } from "./fingerprint.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const required = process.argv.includes("--required");
const binary = join(root, "build/Release/atento.node");

const wanted = fingerprint(root);
if (existsSync(binary) && builtFrom(root) === wanted) process.exit(0);

const prefix = dirname(dirname(process.execPath));
const headers = existsSync(join(prefix, "include/node/node_api.h")) ? [`--nodedir=${prefix}`] : [];
const build = spawnSync("node-gyp", ["rebuild", ...headers], {
  cwd: root,
  encoding: "utf8",
  shell: process.platform === "win32",
});
if (build.status === 0) {
  writeFileSync(stampOf(root), wanted);
} else {
  rmSync(join(root, "build"), { recursive: true, force: true });
  const output = `${build.stdout ?? ""}${build.stderr ?? ""}`;
  if (required) {
    process.stderr.write(output || `${build.error?.message ?? "node-gyp failed"}\n`);
    process.exit(1);
  }
  const lines = output.split("\n").map((line) => line.replace(/^gyp ERR! (stack )?/, "").trim());
  const telling = [/not found|no such file|could not find/i, /fatal error|error:/i, /error/i];
  const cause =
    build.error?.message ?? telling.map((what) => lines.find((line) => what.test(line))).find(Boolean);
  console.log(
    `atento: the native engine was not built (${cause ?? "unknown cause"}); the slow reference engine serves. ` +
      "With python3, make and g++ installed, run: npm run build:native",
  );
}
