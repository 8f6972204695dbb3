import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { regionForms } from "../../../src/bench/region-forms.ts";

test("programs of regions that models run are compiled ahead", () => {
  const listed = readFileSync(new URL("../../../native/kernels/region_forms.h", import.meta.url), "utf8");
  // when this fails: npm run build:forms
  expect(listed).toBe(regionForms());
});
