// Builds the native engine. Without a compiler the installation still succeeds and the reference engine serves,
// unless --required is given.
import { spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const required = process.argv.includes("--required");
const prefix = dirname(dirname(process.execPath));
const headers = existsSync(join(prefix, "include/node/node_api.h")) ? [`--nodedir=${prefix}`] : [];

const build = spawnSync("node-gyp", ["rebuild", "--silent", ...headers], {
  cwd: root,
  encoding: "utf8",
  shell: process.platform === "win32",
});
if (build.status !== 0) {
  rmSync(join(root, "build"), { recursive: true, force: true });
  const output = `${build.stdout ?? ""}${build.stderr ?? ""}`;
  if (required) {
    process.stderr.write(output || `${build.error?.message ?? "node-gyp failed"}\n`);
    process.exit(1);
  }
  const cause =
    build.error?.message ??
    output
      .split("\n")
      .find((line) => /error|not found|ERR/i.test(line))
      ?.trim();
  console.log(
    `atento: the native engine was not built (${cause ?? "unknown cause"}); the slow reference engine serves. ` +
      "With python3, make and g++ installed, run: npm run build:native",
  );
}
