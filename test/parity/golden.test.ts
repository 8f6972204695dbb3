import { expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { readCase } from "../../src/parity/case.ts";
import { checkCase, passes } from "../../src/parity/check.ts";
import { describeEngines, principalEngines } from "../support/engines.ts";
import { sharedFolder } from "../support/shared.ts";

/** Cases written by PyTorch, timm and Keras. */
const cases = ["plain", "se", "cbam", "se-study", "timm-se", "timm-cbam", "keras-training"];

const agrees = (engine: Engine) => {
  for (const name of cases) {
    const { path, absence } = sharedFolder(`golden/${name}`);
    if (absence) {
      test.skip(`${name}: ${absence}`, () => {});
      continue;
    }
    test(name, async () => {
      const at = await readCase(path);
      // a run of the network for every channel of every image: minutes in float64 loops, which npm run parity takes
      const expected = new Map(at.expected);
      if (engine.name === "reference") expected.delete("cam.scorecam");
      const { rows } = await checkCase({ ...at, expected }, engine);
      expect(rows.length).toBeGreaterThan(1);
      expect(rows.filter((row) => !passes(row))).toEqual([]);
    }, 120_000);
  }
};

// one instruction set, the one people get: where a value lies within rounding of a ReLU's kink, as one of
// keras-training does (6e-7, where float32 is known to 2e-6), which side it falls on depends on the order of sums
describeEngines("agrees with other programs", agrees, principalEngines);
