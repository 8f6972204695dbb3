import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Lifetime, planMemory } from "../../../src/compile/memory.ts";

const LINE = 16;

describe("planMemory", () => {
  test("what never lives together shares memory; what meets at one position does not", () => {
    const lifetimes = [
      { floats: 64, first: 0, last: 2 },
      { floats: 64, first: 3, last: 5 },
      { floats: 32, first: 2, last: 3 },
    ];
    expect(planMemory(lifetimes)).toEqual({ offsets: [0, 0, 64], total: 96 });
  });

  test("a gap between two neighbours is used", () => {
    const lifetimes = [
      { floats: 100, first: 0, last: 9 }, // 0 to 112
      { floats: 90, first: 0, last: 4 }, // 112 to 208
      { floats: 80, first: 0, last: 9 }, // 208 to 288
      { floats: 70, first: 5, last: 9 }, // fits where the second was
    ];
    expect(planMemory(lifetimes)).toEqual({ offsets: [0, 112, 208, 112], total: 288 });
  });

  test("any lifetimes: aligned, never overlapping in time and space, not above their sum", () => {
    const lifetime = fc
      .tuple(fc.integer({ min: 1, max: 500 }), fc.nat(30), fc.nat(10))
      .map(([floats, first, length]): Lifetime => ({ floats, first, last: first + length }));
    fc.assert(
      fc.property(fc.array(lifetime, { maxLength: 40 }), (lifetimes) => {
        const { offsets, total } = planMemory(lifetimes);
        const end = (k: number) => offsets[k] + lifetimes[k].floats;
        lifetimes.forEach((a, i) => {
          expect(offsets[i] % LINE).toBe(0);
          expect(end(i)).toBeLessThanOrEqual(total);
          for (let j = 0; j < i; j++) {
            const b = lifetimes[j];
            const together = a.first <= b.last && b.first <= a.last;
            if (together) expect(end(i) <= offsets[j] || end(j) <= offsets[i]).toBe(true);
          }
        });
        const needed = (at: number) =>
          lifetimes.reduce((sum, x) => sum + (x.first <= at && at <= x.last ? x.floats : 0), 0);
        const most = Math.max(0, ...Array.from({ length: 41 }, (_, at) => needed(at)));
        expect(total).toBeGreaterThanOrEqual(most);
        const rounded = lifetimes.reduce((sum, { floats }) => sum + Math.ceil(floats / LINE) * LINE, 0);
        expect(total).toBeLessThanOrEqual(rounded);
      }),
    );
  });
});
