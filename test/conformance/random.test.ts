import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { conv2dInputGradOp, conv2dOp, conv2dWeightGradOp } from "../../src/ops/conv.ts";
import { addOp, broadcastToOp, multiplyOp, sumToOp } from "../../src/ops/elementwise.ts";
import { avgPool2dGradOp, avgPool2dOp, maxPool2dGradOp, maxPool2dOp } from "../../src/ops/pool.ts";
import type { Shape } from "../../src/tensor/tensor.ts";
import { nativeFamilies } from "../support/engines.ts";
import { positive, ties } from "../support/values.ts";
import { convolution } from "./cases/convolution.ts";
import { pooling } from "./cases/pool.ts";
import { kernel, type OpCase, type OpCases, opCase, opCases, operand } from "./cases/types.ts";
import { expectedOf, prepareCase, resultErrors } from "./runCase.ts";

/** One application to try: the op and its only case. */
const single = <A>(op: OpCases<A>["op"], at: OpCase<A>) => opCases({ op, cases: [at], refusals: "" });

const pair = (least: number, most: number) =>
  fc.tuple(fc.integer({ min: least, max: most }), fc.integer({ min: least, max: most }));
const channels = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 10, max: 80 }));
const batch = fc.integer({ min: 1, max: 4 });

const convolutions = fc
  .record({
    sizes: fc.tuple(batch, channels, channels),
    map: pair(1, 13),
    kernel: pair(1, 5),
    stride: pair(1, 3),
    padding: pair(0, 3),
  })
  .filter(({ map, kernel, padding }) => [0, 1].every((axis) => map[axis] + 2 * padding[axis] >= kernel[axis]))
  .map(({ sizes, map, kernel, stride, padding }) => convolution(sizes, map, kernel, stride, padding));

const poolings = fc
  .record({
    sizes: fc.tuple(batch, channels),
    map: pair(1, 13),
    kernel: pair(1, 5),
    stride: pair(1, 3),
    share: fc.tuple(fc.boolean(), fc.boolean()),
  })
  .map(({ share, ...rest }) => {
    const [h, w] = rest.kernel.map((k, axis) => (share[axis] ? Math.floor(k / 2) : 0));
    return { ...rest, padding: [h, w] as const };
  })
  .filter(({ map, kernel, padding }) => [0, 1].every((axis) => map[axis] + 2 * padding[axis] >= kernel[axis]))
  .map(({ sizes, map, kernel, stride, padding }) => pooling([...sizes, ...map], kernel, stride, padding));

const stretching = (axes: number, most: number) =>
  fc.array(fc.record({ length: fc.integer({ min: 1, max: most }), stretched: fc.boolean() }), {
    minLength: 1,
    maxLength: axes,
  });

/** A shape of up to four axes, or two long ones, and one that broadcasts into it. */
const expansions = fc.oneof(stretching(4, 12), stretching(2, 200)).chain((axes) =>
  fc.integer({ min: 0, max: axes.length - 1 }).map((missing): { full: Shape; small: Shape } => ({
    full: axes.map(({ length }) => length),
    small: axes.slice(missing).map(({ length, stretched }) => (stretched ? 1 : length)),
  })),
);

/** Two shapes that broadcast, each into the other. */
const broadcasts = fc
  .array(fc.record({ length: fc.integer({ min: 1, max: 12 }), one: fc.constantFrom("a", "b", "none") }), {
    minLength: 1,
    maxLength: 4,
  })
  .map((axes): { a: Shape; b: Shape } => ({
    a: axes.map(({ length, one }) => (one === "a" ? 1 : length)),
    b: axes.map(({ length, one }) => (one === "b" ? 1 : length)),
  }));

const families: readonly (readonly [string, fc.Arbitrary<OpCases>])[] = [
  ["conv2d", convolutions.map(({ x, w, attrs }) => single(conv2dOp, opCase([operand(x), kernel(w)], attrs)))],
  [
    "conv2d_input_grad",
    convolutions.map(({ x, w, y, attrs }) =>
      single(conv2dInputGradOp, opCase([operand(y), kernel(w)], { ...attrs, input: x })),
    ),
  ],
  [
    "conv2d_weight_grad",
    convolutions.map(({ x, w, y, attrs }) =>
      single(conv2dWeightGradOp, opCase([operand(x), operand(y)], { ...attrs, weight: w })),
    ),
  ],
  ["max_pool2d", poolings.map(({ x, window }) => single(maxPool2dOp, opCase([operand(x)], window)))],
  [
    "max_pool2d_grad",
    poolings.map(({ x, y, window }) =>
      single(maxPool2dGradOp, opCase([operand(y), operand(x, ties)], window)),
    ),
  ],
  ["avg_pool2d", poolings.map(({ x, window }) => single(avgPool2dOp, opCase([operand(x)], window)))],
  [
    "avg_pool2d_grad",
    poolings.map(({ x, y, window }) =>
      single(avgPool2dGradOp, opCase([operand(y)], { ...window, input: x })),
    ),
  ],
  ["add", broadcasts.map(({ a, b }) => single(addOp, opCase([operand(a), operand(b)], null)))],
  ["multiply", broadcasts.map(({ a, b }) => single(multiplyOp, opCase([operand(a), operand(b)], null)))],
  [
    "sum_to",
    expansions.map(({ full, small }) => single(sumToOp, opCase([operand(full, positive)], { shape: small }))),
  ],
  [
    "broadcast_to",
    expansions.map(({ full, small }) => single(broadcastToOp, opCase([operand(small)], { shape: full }))),
  ],
];

describe("the native engine agrees with the oracle on random shapes", () => {
  for (const { isa, engines } of nativeFamilies) {
    const [{ engine }] = engines;
    test.each(families)(`${isa}: %s`, async (_, arbitrary) => {
      const property = fc.asyncProperty(arbitrary, async (cases) => {
        const [at] = cases.cases;
        const { values, expected } = expectedOf(cases, at);
        const prepared = prepareCase(engine, cases, at, false);
        const results = await prepared.run(values);
        prepared.close();
        expect(resultErrors(cases, at, results, expected)).toEqual([]);
      });
      await fc.assert(property, { seed: 1, numRuns: Number(process.env["ATENTO_RANDOM_RUNS"] ?? 60) });
    });
  }
  if (nativeFamilies.length === 0) test.skip("needs the native engine", () => {});
});
