import { expect } from "vitest";
import { type Shape, showShape } from "../../src/tensor/tensor.ts";

/** Largest magnitude among the finite values. */
export function magnitude(values: ArrayLike<number>): number {
  let top = 0;
  for (let i = 0; i < values.length; i++)
    if (Number.isFinite(values[i])) top = Math.max(top, Math.abs(values[i]));
  return top;
}

/** Position along each axis of the element `index`. */
export function positionOf(index: number, shape: Shape): number[] {
  const position = new Array<number>(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    position[axis] = index % shape[axis];
    index = Math.floor(index / shape[axis]);
  }
  return position;
}

/** What a value is, when it is not an ordinary number. */
const kind = (value: number) => (Number.isFinite(value) ? "finite" : `${value}`);

/**
 * Says how `actual` differs from `expected`, or undefined when it does not: NaN and infinities must be where they
 * are expected (NaN also where `mayBeNaN` says so), the rest within `tolerance` of the largest expected magnitude.
 */
export function difference(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  shape: Shape,
  tolerance: number,
  mayBeNaN: (index: number) => boolean = () => false,
): string | undefined {
  if (actual.length !== expected.length) return `${actual.length} values instead of ${expected.length}`;
  const allowed = tolerance * magnitude(expected);
  let [count, first, worst, worstAt] = [0, -1, 0, -1];
  for (let i = 0; i < expected.length; i++) {
    if (Number.isNaN(actual[i]) && mayBeNaN(i)) continue;
    const sameKind = kind(actual[i]) === kind(expected[i]);
    const error = Math.abs(actual[i] - expected[i]);
    if (sameKind && !(error > allowed)) continue;
    count++;
    if (first < 0) first = i;
    const weight = sameKind ? error : Number.POSITIVE_INFINITY;
    if (weight > worst) [worst, worstAt] = [weight, i];
  }
  if (count === 0) return undefined;
  const say = (i: number) => `${showShape(positionOf(i, shape))} is ${actual[i]}, expected ${expected[i]}`;
  const relative = worst / (magnitude(expected) || 1);
  return `${count} of ${expected.length} values of ${showShape(shape)} differ, up to ${relative.toExponential(2)}: first ${say(first)}; worst ${say(worstAt)}`;
}

/** Says where two results differ in a single bit, or undefined. */
export function bitDifference(a: Float32Array, b: Float32Array, shape: Shape): string | undefined {
  const [x, y] = [a, b].map((values) => new Uint32Array(values.buffer, values.byteOffset, values.length));
  const at = x.findIndex((bits, i) => bits !== y[i]);
  return at < 0 ? undefined : `${showShape(positionOf(at, shape))} is ${a[at]} and ${b[at]}`;
}

/** Fails with the first few of the errors, and how many there are. */
export function expectNone(errors: readonly string[]): void {
  const shown = errors.slice(0, 6);
  if (errors.length > shown.length) shown.push(`… and ${errors.length - shown.length} more`);
  expect(shown).toEqual([]);
}
