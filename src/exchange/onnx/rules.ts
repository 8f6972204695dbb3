import { batchNormInferenceOp, stackOp } from "../../ops/batch-norm.ts";
import { channelConvOp, conv2dInputGradOp, conv2dOp } from "../../ops/conv.ts";
import {
  addOp,
  broadcastToOp,
  divideOp,
  equalOp,
  multiplyOp,
  reluGradOp,
  reluOp,
  scaleOp,
  selectEqualOp,
  sigmoidGradOp,
  sigmoidOp,
  sumToOp,
} from "../../ops/elementwise.ts";
import type { Node, Op } from "../../ops/op.ts";
import { avgPool2dGradOp, avgPool2dOp, maxPool2dGradOp, maxPool2dOp } from "../../ops/pool.ts";
import { maxOp, meanOp, type Over } from "../../ops/reduce.ts";
import {
  concatOp,
  constantOp,
  pad2dOp,
  permuteOp,
  reshapeOp,
  rowOp,
  sliceChannelsOp,
} from "../../ops/shape.ts";
import type { Window2d } from "../../ops/window.ts";
import { type Shape, sizeOf } from "../../tensor/tensor.ts";
import { type OnnxGraph, tensorAttribute } from "./graph.ts";

/** One application of an op, as its rule sees it: names of its inputs in the ONNX graph, and our node. */
export interface Place<A> {
  readonly graph: OnnxGraph;
  readonly inputs: readonly string[];
  readonly node: Node<A>;
  readonly label: string;
}

/** Says an op in ONNX (opset 17); the name of its output. */
export type Rule<A = unknown> = (place: Place<A>) => string;

const table = new Map<string, Rule>();

function rule<A>(op: Op<A>, say: Rule<A>): void {
  table.set(op.name, say as Rule);
}

/** Rules by the names of the ops. */
export const rules: ReadonlyMap<string, Rule> = table;

/** The ONNX op of the same inputs. */
const same =
  (type: string): Rule<null> =>
  ({ graph, inputs, label }) =>
    graph.node(type, inputs, label);

type Sides = Pick<Window2d, "stride" | "padding">;
const sides = ({ stride, padding: [h, w] }: Sides) => ({ strides: stride, pads: [h, w, h, w] });

rule(
  conv2dOp,
  ({
    graph,
    inputs,
    node: {
      attrs,
      inputs: [, w],
    },
    label,
  }) =>
    graph.node("Conv", inputs, label, {
      attributes: { kernel_shape: w.shape.slice(2), ...sides(attrs) },
    }),
);

/** Rows and columns at the end of an input that no window reaches. */
function unreached(input: Shape, kernel: readonly number[], { stride, padding }: Sides): number[] {
  return [0, 1].map((axis) => (input[2 + axis] + 2 * padding[axis] - kernel[axis]) % stride[axis]);
}

rule(
  conv2dInputGradOp,
  ({
    graph,
    inputs,
    node: {
      attrs,
      inputs: [, w],
    },
    label,
  }) => {
    const kernel = w.shape.slice(2);
    return graph.node("ConvTranspose", inputs, label, {
      attributes: {
        kernel_shape: kernel,
        ...sides(attrs),
        output_padding: unreached(attrs.input, kernel, attrs),
      },
    });
  },
);

// along the channels: [N,C,1,1] read as one row of C values; a reversed kernel is the transposed convolution
rule(
  channelConvOp,
  ({
    graph,
    inputs: [x, w],
    node: {
      attrs,
      inputs: [, kernel],
      output,
    },
    label,
  }) => {
    const [n, c] = output.shape;
    const k = kernel.shape[2];
    const line = graph.reshape(x, [n, 1, c], label);
    const y = graph.node(attrs.flip ? "ConvTranspose" : "Conv", [line, w], label, {
      attributes: { kernel_shape: [k], pads: [(k - 1) / 2, (k - 1) / 2] },
    });
    return graph.reshape(y, output.shape, label);
  },
);

rule(batchNormInferenceOp, ({ graph, inputs: [x, mean, variance, gamma, beta], node: { attrs }, label }) =>
  graph.node("BatchNormalization", [x, gamma, beta, mean, variance], label, {
    floats: { epsilon: attrs.eps },
  }),
);

rule(stackOp, ({ graph, inputs, label }) => {
  const rows = inputs.map((x) => graph.node("Unsqueeze", [x, graph.ints([0])], label));
  return graph.node("Concat", rows, label, { attributes: { axis: 0 } });
});

rule(addOp, same("Add"));
rule(multiplyOp, same("Mul"));
rule(divideOp, same("Div"));
rule(reluOp, same("Relu"));
rule(sigmoidOp, same("Sigmoid"));

rule(scaleOp, ({ graph, inputs: [x], node: { attrs }, label }) =>
  graph.node("Mul", [x, graph.scalar(attrs.factor)], label),
);

rule(equalOp, ({ graph, inputs, label }) =>
  graph.node("Cast", [graph.node("Equal", inputs, label)], label, { attributes: { to: 1 } }),
);

rule(selectEqualOp, ({ graph, inputs: [x, y, value], label }) =>
  graph.node("Where", [graph.node("Equal", [x, y], label), value, graph.scalar(0)], label),
);

rule(reluGradOp, ({ graph, inputs: [dy, y], label }) =>
  graph.node("Where", [graph.node("Greater", [y, graph.scalar(0)], label), dy, graph.scalar(0)], label),
);

rule(sigmoidGradOp, ({ graph, inputs: [dy, y], label }) => {
  const rest = graph.node("Sub", [graph.scalar(1), y], label);
  return graph.node("Mul", [graph.node("Mul", [dy, y], label), rest], label);
});

rule(
  sumToOp,
  ({
    graph,
    inputs: [x],
    node: {
      inputs: [from],
      output,
    },
    label,
  }) => {
    const lead = from.shape.length - output.shape.length;
    const axes = from.shape.flatMap((length, axis) =>
      axis < lead || output.shape[axis - lead] !== length ? [axis] : [],
    );
    const sum = graph.node("ReduceSum", [x, graph.ints(axes)], label, { attributes: { keepdims: 1 } });
    return lead === 0 ? sum : graph.reshape(sum, output.shape, label);
  },
);

rule(broadcastToOp, ({ graph, inputs: [x], node: { output }, label }) =>
  graph.node("Expand", [x, graph.shape(output.shape)], label),
);

rule(constantOp, ({ graph, node: { attrs }, label }) =>
  graph.node("ConstantOfShape", [graph.shape(attrs.shape)], label, {
    attributes: { value: tensorAttribute([attrs.value]) },
  }),
);

rule(reshapeOp, ({ graph, inputs: [x], node: { output }, label }) => graph.reshape(x, output.shape, label));

rule(permuteOp, ({ graph, inputs, node: { attrs }, label }) =>
  graph.node("Transpose", inputs, label, { attributes: { perm: attrs.order } }),
);

// margins below 0 take away, in ONNX too
rule(pad2dOp, ({ graph, inputs: [x], node: { attrs }, label }) => {
  const { top, bottom, left, right, value } = attrs;
  return graph.node(
    "Pad",
    [x, graph.ints([0, 0, top, left, 0, 0, bottom, right]), graph.scalar(value)],
    label,
  );
});

rule(concatOp, ({ graph, inputs, label }) =>
  graph.node("Concat", inputs, label, { attributes: { axis: 1 } }),
);

rule(sliceChannelsOp, ({ graph, inputs: [x], node: { attrs }, label }) =>
  graph.node(
    "Slice",
    [x, graph.ints([attrs.start]), graph.ints([attrs.start + attrs.count]), graph.ints([1])],
    label,
  ),
);

rule(rowOp, ({ graph, inputs: [x], node: { attrs, output }, label }) =>
  graph.reshape(
    graph.node(
      "Slice",
      [x, graph.ints([attrs.index]), graph.ints([attrs.index + 1]), graph.ints([0])],
      label,
    ),
    output.shape,
    label,
  ),
);

const reduced =
  (type: string): Rule<Over> =>
  ({ graph, inputs, node: { attrs }, label }) =>
    graph.node(type, inputs, label, {
      attributes: { axes: attrs.over === "spatial" ? [2, 3] : [1], keepdims: 1 },
    });

rule(meanOp, reduced("ReduceMean"));
rule(maxOp, reduced("ReduceMax"));

const window = (attrs: Window2d) => ({ kernel_shape: attrs.kernel, ...sides(attrs) });

rule(maxPool2dOp, ({ graph, inputs, node: { attrs }, label }) =>
  graph.node("MaxPool", inputs, label, { attributes: window(attrs) }),
);

rule(avgPool2dOp, ({ graph, inputs, node: { attrs }, label }) =>
  graph.node("AveragePool", inputs, label, { attributes: { ...window(attrs), count_include_pad: 1 } }),
);

// windows overlap, so what they give to one pixel is added up; MaxPool counts pixels through the whole batch
rule(maxPool2dGradOp, ({ graph, inputs: [dy, x], node: { attrs, output }, label }) => {
  const [, winners] = graph.nodeOf("MaxPool", [x], label, { attributes: window(attrs), outputs: 2 });
  const flat = [sizeOf(output.shape)];
  const zeros = graph.node("ConstantOfShape", [graph.shape(flat)], label, {
    attributes: { value: tensorAttribute([0]) },
  });
  const line = [-1];
  const sum = graph.node(
    "ScatterElements",
    [zeros, graph.reshape(winners, line, label), graph.reshape(dy, line, label)],
    label,
    { attributes: { axis: 0, reduction: "add" } },
  );
  return graph.reshape(sum, output.shape, label);
});

rule(avgPool2dGradOp, ({ graph, inputs: [dy], node: { attrs, output }, label }) => {
  const { kernel, input } = attrs;
  const channels = output.shape[1];
  const share = 1 / (kernel[0] * kernel[1]);
  const w = graph.floats(
    "share",
    [channels, 1, ...kernel],
    new Float32Array(channels * kernel[0] * kernel[1]).fill(share),
  );
  return graph.node("ConvTranspose", [dy, w], label, {
    attributes: { ...window(attrs), group: channels, output_padding: unreached(input, kernel, attrs) },
  });
});
