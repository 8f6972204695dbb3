import { expect, test } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { readCase } from "../../src/parity/case.ts";
import { checkCase, passes } from "../../src/parity/check.ts";
import { describeEngines, principalEngines } from "../support/engines.ts";
import { sharedFolder } from "../support/shared.ts";

/** Cases written by PyTorch, timm and Keras. */
const cases = ["plain", "se", "cbam", "se-study", "timm-se", "timm-cbam", "keras-training"];

/**
 * One value of keras-training lies 6e-7 from a ReLU's kink, where float32 is known to 2e-6, and Adam makes much of it:
 * the order of sums, which an instruction set and the compile passes change, decides its side. Of Adam's steps there,
 * and of nothing else, either order may be the one that agrees.
 */
const fromKink = (name: string, quantity: string) =>
  name === "keras-training" && quantity.startsWith("kerasadam");
const withoutPasses = () => createEngine({ engine: "native", passes: false });

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
      const failed = async (on: Engine) => {
        const { rows } = await checkCase({ ...at, expected }, on);
        expect(rows.length).toBeGreaterThan(1);
        return rows.filter((row) => !passes(row));
      };
      const rows = await failed(engine);
      const kinked =
        rows.length > 0 && engine.name === "native" && rows.every((row) => fromKink(name, row.quantity));
      expect(kinked ? await failed(withoutPasses()) : rows).toEqual([]);
    }, 120_000);
  }
};

// one instruction set, the one people get
describeEngines("agrees with other programs", agrees, principalEngines);
