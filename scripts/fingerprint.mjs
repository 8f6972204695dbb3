// Tells whether the built native engine is that of the sources beside it.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const stampOf = (root) => join(root, "build/sources.sha256");

/** What the engine was built from; undefined when nobody knows. */
export function builtFrom(root) {
  return existsSync(stampOf(root)) ? readFileSync(stampOf(root), "utf8") : undefined;
}

/** Of everything that decides what the binary is. */
export function fingerprint(root) {
  const hash = createHash("sha256").update(
    `${process.platform} ${process.arch} ${process.versions.modules}\n`,
  );
  const sources = readdirSync(join(root, "native"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  for (const path of [join(root, "binding.gyp"), ...sources]) {
    hash.update(path.slice(root.length)).update(readFileSync(path));
  }
  return hash.digest("hex");
}
