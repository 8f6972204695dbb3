import { describe, expect, test } from "vitest";
import { hashSeed, Random, threefry2x32 } from "../../../src/random/random.ts";

describe("Threefry-2x32-20", () => {
  // Known answers published with Random123 (kat_vectors); JAX tests against the same three.
  test.each([
    { key: [0, 0], counter: [0, 0], answer: [0x6b200159, 0x99ba4efe] },
    {
      key: [0xffffffff, 0xffffffff],
      counter: [0xffffffff, 0xffffffff],
      answer: [0x1cb996fc, 0xbb002be7],
    },
    {
      key: [0x13198a2e, 0x03707344],
      counter: [0x243f6a88, 0x85a308d3],
      answer: [0xc4923a9c, 0x483df7a0],
    },
  ])("answers $answer", ({ key, counter, answer }) => {
    const out: [number, number] = [0, 0];
    threefry2x32(key[0], key[1], counter[0], counter[1], out);
    expect(out).toEqual(answer);
  });
});

describe("Random", () => {
  test("the same parts give the same numbers, others give others", () => {
    const draw = (...parts: (string | number)[]) => {
      const random = new Random(...parts);
      return [random.uint32(), random.uint32(), random.uint32()];
    };
    expect(draw(1, "a")).toEqual(draw(1, "a"));
    const streams = [
      [1, "a"],
      [1, "b"],
      ["a", 1],
      [1],
      ["1"],
      [1, "a", 0],
      [1.5],
      [-1],
      ["ab"],
      ["a", "b"],
      [""],
      [],
      ["a\0"],
      ["a"],
      ["\0"],
    ];
    expect(new Set(streams.map((parts) => draw(...parts).join())).size).toBe(streams.length);
    expect(hashSeed(-0)).toBe(hashSeed(0));
  });

  test("stays as it is from version to version: runs must be repeatable", () => {
    const random = new Random(7, "weights");
    expect([random.uint32(), random.uint32(), random.int(10), random.normal()]).toMatchInlineSnapshot(`
      [
        869429291,
        3905050265,
        1,
        -0.7617610721753988,
      ]
    `);
    expect(hashSeed("layer1.0.conv1.weight", 3)).toMatchInlineSnapshot(`3907478975`);
  });

  test("uniform numbers have mean 1/2, variance 1/12, no correlation with the next, and flat bits", () => {
    const n = 200_000;
    const random = new Random("uniform");
    const values = Float64Array.from({ length: n }, () => random.next());
    const mean = values.reduce((a, b) => a + b) / n;
    const variance = values.reduce((a, b) => a + (b - 0.5) ** 2, 0) / n;
    const next = values.reduce((a, b, i) => a + (b - 0.5) * ((values[i + 1] ?? 0.5) - 0.5), 0) / n;
    // Five standard errors each: 0.2887/√n, 0.0745/√n, (1/12)/√n.
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.0033);
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(0.00084);
    expect(Math.abs(next)).toBeLessThan(0.00094);
    expect(values.every((v) => v >= 0 && v < 1)).toBe(true);
  });

  test("normal numbers have moments 0, 1, 0, 3", () => {
    const n = 200_000;
    const random = new Random("normal");
    const values = Float64Array.from({ length: n }, () => random.normal());
    const moment = (k: number) => values.reduce((a, b) => a + b ** k, 0) / n;
    // Five standard errors: √(1, 2, 15, 96)/√n.
    expect(Math.abs(moment(1))).toBeLessThan(0.0112);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.0159);
    expect(Math.abs(moment(3))).toBeLessThan(0.0434);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.11);
  });

  test("int is flat over n", () => {
    const random = new Random("int");
    const counts = new Array(7).fill(0);
    for (let i = 0; i < 70_000; i++) counts[random.int(7)]++;
    const chi2 = counts.reduce((sum, n) => sum + (n - 10_000) ** 2 / 10_000, 0);
    // 99.99 % point of χ² with 6 degrees of freedom.
    expect(chi2).toBeLessThan(27.9);
    expect(new Random().int(1)).toBe(0);
    for (const n of [0, -1, 1.5, 2 ** 33, Number.NaN]) expect(() => random.int(n)).toThrow(RangeError);
  });

  test("shuffle gives all 6 orders of 3 values equally often", () => {
    const random = new Random("shuffle");
    const seen = new Map<string, number>();
    for (let i = 0; i < 12_000; i++) {
      const order = random.shuffle(Uint32Array.of(0, 1, 2)).join("");
      seen.set(order, (seen.get(order) ?? 0) + 1);
    }
    expect(seen.size).toBe(6);
    const chi2 = [...seen.values()].reduce((sum, n) => sum + (n - 2000) ** 2 / 2000, 0);
    expect(chi2).toBeLessThan(25.8);
  });
});
