import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { methods } from "../../../src/cam/methods/registry.ts";
import { noisy } from "../../../src/cam/noise.ts";
import { projection } from "../../../src/cam/principal.ts";
import type { MapMethod, RescoredLayer, WeighMethod } from "../../../src/cam/spec.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { Random } from "../../../src/random/random.ts";
import { input } from "../../../src/tensor/tensor.ts";
import { describeEngines, principalEngines } from "../../support/engines.ts";

const folder = new URL("../../../src/cam/methods/", import.meta.url);

test("the registry lists every method of its folder; when it does not, run: npm run build:ts", () => {
  const files = readdirSync(folder).filter((file) => file !== "registry.ts");
  const registry = readFileSync(new URL("registry.ts", folder), "utf8");
  const listed = [...registry.matchAll(/from "\.\/(.+\.ts)"/g)].map(([, name]) => name);
  expect(listed.sort()).toEqual(files.sort());
  expect(methods.size).toBe(files.length);
  for (const file of files) {
    expect(readFileSync(new URL(file, folder), "utf8").split("\n").length).toBeLessThan(41);
  }
});

const maps = [...methods.values()].filter((method): method is MapMethod => "map" in method);
const weighing = [...methods.values()].filter((method): method is WeighMethod => "weigh" in method);

type Given = { readonly shape: [number, number, number]; activations: number[]; gradients: number[] };

/** The map of one image [C,h,w] as an engine computes it. */
async function mapOf(engine: Engine, method: MapMethod, { shape, ...given }: Given): Promise<number[]> {
  const store = engine.open([]);
  const at = {
    activations: input("activations", [1, ...shape]),
    gradients: input("gradients", [1, ...shape]),
  };
  const program = store.compile({ outputs: { map: method.map(at, method.options) }, effects: [] });
  const feeds = Object.fromEntries(
    Object.entries(given).flatMap(([name, values]) =>
      program.inputs.has(name) ? [[name, Float32Array.from(values)]] : [],
    ),
  );
  const { map } = await program.run(feeds);
  store.close();
  const pixels = shape[1] * shape[2];
  return [...(method.reduce?.({ values: map, channels: map.length / pixels, pixels }) ?? map)];
}

/** A network of one formula: y = Σₖ vₖ·(mean of Aₖ)², and of images y = Σ pixels of a channel, weighed by the channel. */
function rescored(
  activations: readonly number[],
  v: readonly number[],
  [h, w]: [number, number],
): RescoredLayer {
  const area = h * w;
  const score = (A: Float32Array) =>
    v.reduce((sum, own, k) => {
      const mean = A.subarray(k * area, (k + 1) * area).reduce((a, b) => a + b, 0) / area;
      return sum + own * mean * mean;
    }, 0);
  const image = Float32Array.from({ length: 3 * area }, (_, i) => (i % area) + 1);
  const all = (
    count: number,
    start: Float32Array,
    change: (k: number, into: Float32Array) => void,
    of: typeof score,
  ) =>
    Promise.resolve(
      Float32Array.from({ length: count }, (_, k) => {
        const own = start.slice();
        change(k, own);
        return of(own);
      }),
    );
  const A = Float32Array.from(activations);
  return {
    ...{ activations: A, channels: v.length, height: h, width: w, image: [h, w], score: score(A) },
    rescore: (count, change) => all(count, A, change, score),
    rescoreImages: (count, change) => all(count, image, change, (own) => own.reduce((a, b) => a + b, 0) / 10),
  };
}

const weightedSum = (weights: Float32Array, activations: readonly number[], area: number) =>
  Array.from({ length: area }, (_, p) =>
    weights.reduce((sum, own, k) => sum + own * activations[k * area + p], 0),
  );

const close = (actual: readonly number[], expected: readonly number[], tolerance = 2e-6) => {
  const top = Math.max(...expected.map(Math.abs), 1e-3);
  expect(actual.length).toBe(expected.length);
  expect(Math.max(...actual.map((value, i) => Math.abs(value - expected[i])))).toBeLessThan(tolerance * top);
};

const A1 = [1, 2, 3, 4];
const given: Given = {
  shape: [2, 2, 2],
  activations: [...A1, 0, 1, 1, -2],
  gradients: [1, 0, 0, 1, -1, 0, -2, -1],
};
/** Both channels along one line: centred, they are c and 2c with c = (−1.5, −0.5, 0.5, 1.5), so X·v = √5·c. */
const line = (gradient: number): Given => ({
  shape: [2, 2, 2],
  activations: [...A1, 2, 4, 6, 8],
  gradients: new Array<number>(8).fill(gradient),
});
const root5 = Math.sqrt(5);

/** Worked on paper from the formulas. */
const byHand: Readonly<Record<string, readonly [Given, readonly number[]]>> = {
  // the means of g are 1/2 and −1
  "grad-cam": [given, [0.5, 0, 0.5, 4]],
  // where g = 1, α = 1/(2 + 10): w₁ = 2/12; no gradient of the second channel is positive
  "grad-cam++": [given, [1 / 6, 2 / 6, 3 / 6, 4 / 6]],
  // Σ g·A/ΣA = 5/10 and 0
  "xgrad-cam": [given, [0.5, 1, 1.5, 2]],
  "hires-cam": [given, [1, 0, -2, 6]],
  "layer-cam": [given, [1, 0, 0, 4]],
  "element-wise": [given, [1, 0, 0, 6]],
  "eigen-cam": [line(0), [-1.5 * root5, -0.5 * root5, 0.5 * root5, 1.5 * root5]],
  // g⊙A falls where A rises, and the map with it
  "eigen-grad-cam": [line(-1), [1.5 * root5, 0.5 * root5, -0.5 * root5, -1.5 * root5]],
  // |g|⊙A: centred (−1, −1, −1, 3) and twice that
  "seg-eigen-cam": [
    { shape: [2, 2, 2], activations: [0, 0, 0, 4, 0, 0, 0, 8], gradients: new Array<number>(8).fill(-1) },
    [-root5, -root5, -root5, 3 * root5],
  ],
  gradients: [given, [1, 0, 2, 1]],
  "smooth-grad": [given, [1, 0, 2, 1]],
};

describeEngines(
  "maps",
  (engine) => {
    describe.each(maps.map((method) => [method.name, method] as const))("%s", (name, method) => {
      test("is what its formula gives on paper", async () => {
        const [at, expected] = byHand[name];
        close(await mapOf(engine, method, at), expected);
      });

      test("does not depend on the order of the channels", async () => {
        const [channels, pixels] = [17, 12];
        const random = new Random("cam", name);
        const draw = () => Array.from({ length: channels * pixels }, () => random.normal());
        const [activations, gradients] = [draw().map(Math.abs), draw()];
        const order = [...random.shuffle(Uint32Array.from({ length: channels }, (_, k) => k))];
        const permuted = (values: number[]) =>
          order.flatMap((k) => values.slice(k * pixels, (k + 1) * pixels));
        const shape: Given["shape"] = [channels, 3, 4];
        const map = await mapOf(engine, method, { shape, activations, gradients });
        const other = await mapOf(engine, method, {
          ...{ shape, activations: permuted(activations), gradients: permuted(gradients) },
        });
        close(other, map, 2e-5);
      });

      test("is 0 where no gradient, or for want of any no activation, says otherwise", async () => {
        const ones = new Array<number>(24).fill(1).map((_, i) => i % 5);
        const none = new Array<number>(24).fill(0);
        const asks = method.needs.length > 0;
        const at: Given = { shape: [2, 3, 4], activations: asks ? ones : none, gradients: none };
        expect((await mapOf(engine, method, at)).map(Math.abs)).toEqual(new Array(12).fill(0));
      });
    });
  },
  principalEngines,
);

test("the first principal component is found where a channel is orthogonal to it", () => {
  // Gram matrix [[100,0,0],[0,64,64],[0,64,64]]: eigenvalues 128, 100, 0; v = (0, 1, 1)/√2, X·v = √2·(4, 4, −4, −4)
  const values = Float32Array.of(5, -5, 5, -5, 4, 4, -4, -4, 4, 4, -4, -4);
  const map = projection({ values, channels: 3, pixels: 4 });
  const sign = Math.sign(map[0]);
  close(
    [...map].map((value) => sign * value),
    [4, 4, -4, -4].map((value) => Math.SQRT2 * value),
    1e-6,
  );
});

test("smooth-grad's noise has the deviation asked for, of the image's range", () => {
  const image = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => (i % 7) - 2); // from −2 to 4
  const difference = noisy(image, 1, 0.15, 0).map((value, i) => value - image[i]);
  const mean = difference.reduce((a, b) => a + b, 0) / difference.length;
  const variance = difference.reduce((sum, x) => sum + (x - mean) ** 2, 0) / difference.length;
  // 0.15·6; the standard error of a deviation of n numbers is σ/√(2n)
  expect(Math.abs(Math.sqrt(variance) - 0.9)).toBeLessThan((4 * 0.9) / Math.sqrt(2 * difference.length));
  expect([...noisy(image, 1, 0.15, 1)]).not.toEqual([...noisy(image, 1, 0.15, 0)]);
});

describe("methods that run the network again", () => {
  const v = [2, 1, -1];
  const activations = [1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1];

  test("ablation-cam: what the score loses without each channel, over the score", async () => {
    // y = 2·1 + 1·4 − 1·1 = 5; without each: 3, 1, 6
    const weights = await weighing
      .find(({ name }) => name === "ablation-cam")!
      .weigh(rescored(activations, v, [2, 2]), {});
    close([...weights], [2 / 5, 4 / 5, -1 / 5]);
  });

  test("score-cam: the softmax of the scores of the masked image", async () => {
    // the image's pixels are 1, 2, 3, 4 in each channel; masks are A less its minimum over its range
    const A = [0, 0, 0, 1, 2, 1, 1, 1, 0, 1, 0, 1];
    const scores = [3 * 4, 3 * 1, 3 * (2 + 4)].map((sum) => sum / 10);
    const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
    const weights = await weighing
      .find(({ name }) => name === "score-cam")!
      .weigh(rescored(A, v, [2, 2]), {});
    close(
      [...weights],
      scores.map((score) => Math.exp(score) / total),
      1e-5,
    );
  });

  test.each(weighing.map((method) => [method.name, method] as const))(
    "%s does not depend on the order of the channels, and is 0 where all activations are",
    async (_, method) => {
      const A = [0, 1, 2, 5, 2, 1, 1, 1, 0, 3, 0, 1];
      const order = [2, 0, 1];
      const permuted = order.flatMap((k) => A.slice(4 * k, 4 * k + 4));
      const map = weightedSum(await method.weigh(rescored(A, v, [2, 2]), method.options), A, 4);
      const other = await method.weigh(
        rescored(
          permuted,
          order.map((k) => v[k]),
          [2, 2],
        ),
        method.options,
      );
      close(weightedSum(other, permuted, 4), map, 1e-5);
      const none = new Array<number>(12).fill(0);
      const zero = await method.weigh(rescored(none, v, [2, 2]), method.options);
      expect(weightedSum(zero, none, 4).map(Math.abs)).toEqual([0, 0, 0, 0]);
    },
  );
});
