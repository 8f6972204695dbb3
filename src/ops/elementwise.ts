import { ShapeError } from "../tensor/errors.ts";
import { type Shape, sameShape, showShape, sizeOf, type Tensor } from "../tensor/tensor.ts";
import { broadcastParams, broadcastShape, expandedStrides, forEachBroadcast } from "./broadcast.ts";
import { apply, defineOp, expectLayout, expectSame, type Op } from "./op.ts";

const size1 = (node: { output: Tensor }) => [sizeOf(node.output.shape)];

/** Sum of x over the axes that broadcasting had expanded: the adjoint of broadcasting. x → [shape]. */
export const sumToOp = defineOp<{ shape: Shape }>({
  name: "sum_to",
  shape: ([x], { shape }) => {
    if (!sameShape(broadcastShape("sum_to", x, shape), x)) {
      throw new ShapeError(
        "sum_to",
        `x ${showShape(x)} does not come from ${showShape(shape)} by broadcasting`,
      );
    }
    return shape;
  },
  vjp: (dy, { inputs: [x] }) => [broadcastTo(dy, x.shape)],
  reference: ({ inputs: [x], shapes: [from], output, outputShape }) => {
    output.fill(0);
    forEachBroadcast(from, [expandedStrides(outputShape, from)], (at, [to]) => {
      output[to] += x[at];
    });
  },
  native: ({ inputs: [x], output }) => ({ kernel: "sum_to", params: broadcastParams(x, [output]) }),
});

export function sumTo(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : apply(sumToOp, [x], { shape });
}

/** x repeated along axes of length 1 or missing in front. x → [shape]. */
export const broadcastToOp = defineOp<{ shape: Shape }>({
  name: "broadcast_to",
  shape: ([x], { shape }) => {
    if (!sameShape(broadcastShape("broadcast_to", x, shape), shape)) {
      throw new ShapeError("broadcast_to", `x ${showShape(x)} does not broadcast to ${showShape(shape)}`);
    }
    return shape;
  },
  vjp: (dy, { inputs: [x] }) => [sumTo(dy, x.shape)],
  reference: ({ inputs: [x], shapes: [from], output, outputShape }) =>
    forEachBroadcast(outputShape, [expandedStrides(from, outputShape)], (at, [source]) => {
      output[at] = x[source];
    }),
  native: ({ inputs: [x], output }) => ({ kernel: "broadcast_to", params: broadcastParams(output, [x]) }),
});

export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : apply(broadcastToOp, [x], { shape });
}

function binary(name: string, f: (a: number, b: number) => number, vjp: Op<null>["vjp"]): Op<null> {
  return defineOp<null>({
    name,
    shape: ([a, b]) => broadcastShape(name, a, b),
    vjp,
    reference: ({ inputs: [a, b], shapes, output, outputShape }) =>
      forEachBroadcast(
        outputShape,
        shapes.map((shape) => expandedStrides(shape, outputShape)),
        (at, [i, j]) => {
          output[at] = f(a[i], b[j]);
        },
      ),
    native: ({ inputs, output }) => ({ kernel: name, params: broadcastParams(output, inputs) }),
    inPlace: [0, 1],
  });
}

/** a + b with NumPy's broadcasting. */
export const addOp = binary(
  "add",
  (a, b) => a + b,
  (dy, { inputs: [a, b] }) => [sumTo(dy, a.shape), sumTo(dy, b.shape)],
);

/** a·b with NumPy's broadcasting. */
export const multiplyOp = binary(
  "multiply",
  (a, b) => a * b,
  (dy, { inputs: [a, b] }) => [sumTo(multiply(dy, b), a.shape), sumTo(multiply(dy, a), b.shape)],
);

/** a/b with NumPy's broadcasting. */
export const divideOp = binary(
  "divide",
  (a, b) => a / b,
  (dy, { inputs: [a, b], output }) => [
    sumTo(divide(dy, b), a.shape),
    sumTo(scale(divide(multiply(dy, output), b), -1), b.shape),
  ],
);

/** Neither is less: a NaN ties with everything, since where a maximum is one so is all that follows. */
const ties = (a: number, b: number) => !(a < b || a > b);

/** 1 where a ties with b, else 0, with NumPy's broadcasting. */
export const equalOp = binary("equal", (a, b) => Number(ties(a, b)), null);

/** The value where x ties with y, else 0. y and value are broadcast to x. */
export const selectEqualOp = defineOp<null>({
  name: "select_equal",
  shape: ([x, y, value]) => {
    for (const shape of [y, value]) {
      const both = broadcastShape("select_equal", x, shape);
      if (!sameShape(both, x)) {
        throw new ShapeError("select_equal", `${showShape(shape)} does not broadcast to x ${showShape(x)}`);
      }
    }
    return x;
  },
  vjp: null,
  reference: ({ inputs: [x, y, value], shapes: [xs, ...small], output }) =>
    forEachBroadcast(
      xs,
      small.map((shape) => expandedStrides(shape, xs)),
      (at, [i, j]) => {
        output[at] = ties(x[at], y[i]) ? value[j] : 0;
      },
    ),
  native: ({ inputs: [x, ...small] }) => ({ kernel: "select_equal", params: broadcastParams(x, small) }),
});

/** max(x, 0), NaN kept. */
export const reluOp = defineOp<null>({
  name: "relu",
  shape: ([x]) => x,
  vjp: (dy, { output }) => [apply(reluGradOp, [dy, output], null)],
  reference: ({ inputs: [x], output }) => {
    for (let i = 0; i < x.length; i++) output[i] = Math.max(x[i], 0);
  },
  native: (node) => ({ kernel: "relu", params: size1(node) }),
  inPlace: [0],
});

/** dy where the output y of a ReLU is above 0, else 0. */
export const reluGradOp = defineOp<null>({
  name: "relu_grad",
  shape: ([dy, y]) => {
    expectSame("relu_grad", "y", y, dy);
    return dy;
  },
  vjp: null,
  reference: ({ inputs: [dy, y], output }) => {
    for (let i = 0; i < dy.length; i++) output[i] = y[i] <= 0 ? 0 : dy[i];
  },
  native: (node) => {
    expectLayout("relu_grad", "y", node.inputs[1], node.output.layout);
    return { kernel: "relu_grad", params: size1(node) };
  },
  inPlace: [0],
});

/** 1/(1 + e⁻ˣ). */
export const sigmoidOp = defineOp<null>({
  name: "sigmoid",
  shape: ([x]) => x,
  vjp: (dy, { output }) => [apply(sigmoidGradOp, [dy, output], null)],
  reference: ({ inputs: [x], output }) => {
    for (let i = 0; i < x.length; i++) output[i] = 1 / (1 + Math.exp(-x[i]));
  },
  native: (node) => ({ kernel: "sigmoid", params: size1(node) }),
  inPlace: [0],
});

/** dy·y·(1 − y), y the output of a sigmoid. */
export const sigmoidGradOp = defineOp<null>({
  name: "sigmoid_grad",
  shape: ([dy, y]) => {
    expectSame("sigmoid_grad", "y", y, dy);
    return dy;
  },
  vjp: null,
  reference: ({ inputs: [dy, y], output }) => {
    for (let i = 0; i < dy.length; i++) output[i] = dy[i] * y[i] * (1 - y[i]);
  },
  native: (node) => {
    expectLayout("sigmoid_grad", "y", node.inputs[1], node.output.layout);
    return { kernel: "sigmoid_grad", params: size1(node) };
  },
  inPlace: [0],
});

/** x times a constant. */
export const scaleOp: Op<{ factor: number }> = defineOp({
  name: "scale",
  shape: ([x]) => x,
  vjp: (dy, { attrs }) => [apply(scaleOp, [dy], attrs)],
  reference: ({ inputs: [x], attrs, output }) => {
    for (let i = 0; i < x.length; i++) output[i] = attrs.factor * x[i];
  },
  native: (node) => ({ kernel: "scale", params: [...size1(node), node.attrs.factor] }),
  inPlace: [0],
});

export const add = (a: Tensor, b: Tensor) => apply(addOp, [a, b], null);
export const multiply = (a: Tensor, b: Tensor) => apply(multiplyOp, [a, b], null);
export const divide = (a: Tensor, b: Tensor) => apply(divideOp, [a, b], null);
export const relu = (x: Tensor) => apply(reluOp, [x], null);
export const sigmoid = (x: Tensor) => apply(sigmoidOp, [x], null);
export const scale = (x: Tensor, factor: number) => apply(scaleOp, [x], { factor });
