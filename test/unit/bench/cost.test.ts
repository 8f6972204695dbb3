import { expect, test } from "vitest";
import { costText, measureCost } from "../../../src/bench/cost.ts";
import { createEngine } from "../../../src/engine/create.ts";

test("variants take steps in turns and are compared with the first", async ({ skip }) => {
  skip(createEngine({}).name !== "native", "the native engine was not built");
  const workload = { stem: "imagenet", attention: ["none", "se"], batch: 2, steps: 3, threads: 1 };
  const told: number[] = [];
  const costs = await measureCost(workload, {}, (step) => told.push(step));
  expect(told).toEqual([0, 1, 2]);
  expect(costs.map(({ attention }) => attention)).toEqual(["none", "se"]);
  expect(costs[0]).toMatchObject({ pairs: 1, bests: 1 });
  for (const { median, best } of costs) expect(median).toBeGreaterThanOrEqual(best);
  expect(costs[1].bests).toBeCloseTo(costs[0].best / costs[1].best, 12);
});

test("its table says what each costs", () => {
  const workload = { stem: "cifar", attention: ["none", "se"], batch: 32, steps: 5, threads: 2 };
  const none = { attention: "none", median: 100, best: 90, pairs: 1, bests: 1 };
  const text = costText(workload, [
    none,
    { attention: "se", median: 105, best: 95, pairs: 0.953, bests: 0.947 },
  ]);
  expect(text).toContain("speed over none");
  expect(text).toMatch(/se +105 +95\S* +0\.953 +0\.947/);
});
