// Builds the native engine unless it is up to date. Without a compiler the installation still succeeds and the
// reference engine serves; with --required it does not.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const required = process.argv.includes("--required");
const binary = join(root, "build/Release/atento.node");
const stamp = join(root, "build/sources.sha256");

/** Of everything that decides what the binary is. */
function fingerprint() {
  const hash = createHash("sha256").update(
    `${process.platform} ${process.arch} ${process.versions.modules}\n`,
  );
  const sources = readdirSync(join(root, "native"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  for (const path of [join(root, "binding.gyp"), ...sources])
    hash.update(path.slice(root.length)).update(readFileSync(path));
  return hash.digest("hex");
}

const wanted = fingerprint();
if (existsSync(binary) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) process.exit(0);

const prefix = dirname(dirname(process.execPath));
const headers = existsSync(join(prefix, "include/node/node_api.h")) ? [`--nodedir=${prefix}`] : [];
const build = spawnSync("node-gyp", ["rebuild", ...headers], {
  cwd: root,
  encoding: "utf8",
  shell: process.platform === "win32",
});
if (build.status === 0) {
  writeFileSync(stamp, wanted);
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
