import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { builtFrom, fingerprint, stampOf } from "../../../scripts/fingerprint.mjs";
import { loadAddon } from "../../../src/engine/addon.ts";

/** A checkout with a native engine said to be built from its sources. */
function checkout(): string {
  const root = mkdtempSync(join(tmpdir(), "atento-addon-"));
  onTestFinished(() => rmSync(root, { recursive: true }));
  for (const folder of ["native/kernels", "build/Release"])
    mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, "binding.gyp"), "{}");
  writeFileSync(join(root, "native/kernels/conv.h"), "// a kernel");
  writeFileSync(join(root, "build/Release/atento.node"), "no library");
  writeFileSync(stampOf(root), fingerprint(root));
  return root;
}

test("an engine whose sources have changed since is refused with what rebuilds it", () => {
  const root = checkout();
  expect(builtFrom(root)).toBe(fingerprint(root));
  writeFileSync(join(root, "native/kernels/conv.h"), "// another kernel");
  expect(() => loadAddon(root)).toThrow(/atento\.node is stale: .*run: npm run build:native/);
});

test("an engine that cannot be loaded is said in one line", () => {
  expect(() => loadAddon(checkout())).toThrow(/cannot be loaded \([^\n]+\); run: npm run build:native$/);
});

test("without a build there is none", () => {
  const root = checkout();
  rmSync(join(root, "build"), { recursive: true });
  expect(loadAddon(root)).toBeUndefined();
});
