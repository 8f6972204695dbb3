import { gradient } from "../../src/autodiff/gradient.ts";
import { Random } from "../../src/random/random.ts";
import { input, sizeOf, type Tensor } from "../../src/tensor/tensor.ts";
import { magnitude } from "./compare.ts";
import { evaluate } from "./evaluate.ts";

const tolerance = 1e-6;
const step = 1e-5;
const samples = 24;

/**
 * Compares the graph's gradients of a random linear functional of y with central differences, in float64, at a
 * sample of the elements of each target; says what differs.
 */
export function gradientErrors(
  y: Tensor,
  targets: readonly Tensor[],
  given: ReadonlyMap<Tensor, ArrayLike<number>>,
): string[] {
  const random = new Random("functional", ...y.shape);
  const weights = Float64Array.from({ length: sizeOf(y.shape) }, () => random.normal());
  const seed = input("seed", y.shape);
  const values = new Map([...given].map(([x, start]) => [x, Float64Array.from(start)]));
  const analytic = evaluate(gradient(y, seed, targets), new Map([...values, [seed, weights]])).outputs;
  const functional = () => evaluate([y], values).outputs[0].reduce((sum, v, i) => sum + v * weights[i], 0);
  return targets.flatMap((target, k) => {
    const x = values.get(target)!;
    const positions = random.shuffle(Uint32Array.from(x, (_, i) => i)).subarray(0, samples);
    const scale = Math.max(magnitude(analytic[k]), 1e-3);
    return [...positions].flatMap((at) => {
      const start = x[at];
      const h = step * Math.max(1, Math.abs(start));
      x[at] = start + h;
      const above = functional();
      x[at] = start - h;
      const below = functional();
      x[at] = start;
      const numeric = (above - below) / (2 * h);
      const error = Math.abs(analytic[k][at] - numeric) / scale;
      if (error <= tolerance) return [];
      return [`${target.label}[${at}]: gradient ${analytic[k][at]}, central difference ${numeric}`];
    });
  });
}
