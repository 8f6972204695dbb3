import { ShapeError } from "../tensor/errors.ts";
import { type Shape, showShape, type Tensor } from "../tensor/tensor.ts";
import { apply, defineOp, expectRank, expectSame } from "./op.ts";

interface Smoothing {
  /** Share s of the target spread over all classes: target = (1 − s)·onehot + s/K. */
  readonly labelSmoothing: number;
}

function expectLogits(op: string, logits: Shape, labels: Shape): void {
  expectRank(op, "logits", logits, 2);
  if (labels.length !== 1 || labels[0] !== logits[0]) {
    throw new ShapeError(op, `labels ${showShape(labels)} do not fit logits ${showShape(logits)}`);
  }
}

/** log Σ exp of one row, its largest value taken out first. */
function logSumExp(x: Float64Array, from: number, count: number): number {
  let top = -Infinity;
  for (let k = 0; k < count; k++) top = Math.max(top, x[from + k]);
  let sum = 0;
  for (let k = 0; k < count; k++) sum += Math.exp(x[from + k] - top);
  return top + Math.log(sum);
}

/** Mean cross-entropy of softmax(logits) [N,K] with class indices [N], label smoothing after 1512.00567 → [1]. */
export const crossEntropyOp = defineOp<Smoothing>({
  name: "cross_entropy",
  shape: ([logits, labels]) => {
    expectLogits("cross_entropy", logits, labels);
    return [1];
  },
  vjp: (dy, { inputs: [logits, labels], attrs }) => [
    apply(crossEntropyGradOp, [dy, logits, labels], attrs),
    null,
  ],
  reference: ({ inputs: [logits, labels], shapes: [[n, k]], attrs: { labelSmoothing }, output }) => {
    output[0] = 0;
    for (let row = 0; row < n; row++) {
      const total = logSumExp(logits, row * k, k);
      let uniform = 0;
      for (let j = 0; j < k; j++) uniform += (total - logits[row * k + j]) / k;
      const hard = total - logits[row * k + labels[row]];
      output[0] += ((1 - labelSmoothing) * hard + labelSmoothing * uniform) / n;
    }
  },
  native: ({ inputs: [logits], attrs: { labelSmoothing } }) => ({
    kernel: "cross_entropy",
    params: [...logits.shape, labelSmoothing],
  }),
});

/** dy·(softmax(logits) − target)/N. dy [1], logits [N,K], labels [N] → [N,K]. */
export const crossEntropyGradOp = defineOp<Smoothing>({
  name: "cross_entropy_grad",
  shape: ([dy, logits, labels]) => {
    expectSame("cross_entropy_grad", "dy", dy, [1]);
    expectLogits("cross_entropy_grad", logits, labels);
    return logits;
  },
  vjp: null,
  reference: ({ inputs: [dy, logits, labels], shapes: [, [n, k]], attrs: { labelSmoothing }, output }) => {
    for (let row = 0; row < n; row++) {
      const total = logSumExp(logits, row * k, k);
      for (let j = 0; j < k; j++) {
        const target = (labels[row] === j ? 1 - labelSmoothing : 0) + labelSmoothing / k;
        output[row * k + j] = (dy[0] * (Math.exp(logits[row * k + j] - total) - target)) / n;
      }
    }
  },
  native: ({ inputs: [, logits], attrs: { labelSmoothing } }) => ({
    kernel: "cross_entropy_grad",
    params: [...logits.shape, labelSmoothing],
  }),
});

export const crossEntropy = (logits: Tensor, labels: Tensor, labelSmoothing = 0) =>
  apply(crossEntropyOp, [logits, labels], { labelSmoothing });
