import { topologicalOrder } from "../autodiff/gradient.ts";
import { batchNormGradSumsOp, batchNormInputGradOp, batchNormOp } from "../ops/batch-norm.ts";
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
  sumToOp,
} from "../ops/elementwise.ts";
import { apply, defineOp, expectSame, isView, type Node, nodeOf, type Op } from "../ops/op.ts";
import { maxOp, meanOp } from "../ops/reduce.ts";
import { type Shape, sameShape, showShape, type Tensor } from "../tensor/tensor.ts";

/** The kernel's instructions, in its order (native/kernels/region.h). */
const opcodes = [
  "norm",
  "norm_grad",
  "multiply_add",
  "add",
  "mask",
  "equal",
  "select_equal",
  "copy",
  "scale",
  "divide",
  "sigmoid_grad",
  "sum_channels",
  "max_channels",
  "sum_pixels",
  "max_pixels",
  "grad_sums",
] as const;

/** An operand of the record from 0 on; a block of workspace below 0. */
type Reference = number;
const NONE: Reference = 1000;

interface Instruction {
  readonly opcode: (typeof opcodes)[number];
  readonly to: Reference;
  readonly from: readonly Reference[];
  readonly relu?: boolean;
  /** ε, or what a or a sum is multiplied by. */
  readonly value?: number;
}

type OpNode = Node & { readonly op: Op };

const is = (x: Tensor, ...ops: readonly { readonly name: string }[]) =>
  ops.some(({ name }) => name === nodeOf(x)?.op.name);

/** The shape [N,C,H,W] that a region's root, or what the root reduces, has. */
export function regionShape(root: Tensor): Shape {
  return is(root, sumToOp, sumOntoOp, meanOp, maxOp, batchNormGradSumsOp)
    ? nodeOf(root)!.inputs[0].shape
    : root.shape;
}

/** Images and pixels of an image as a region walks over them: images of one pixel are pixels of one image. */
const walked = ([n, , h, w]: Shape) =>
  h * w === 1 ? { images: 1, pixels: n } : { images: n, pixels: h * w };

const PER_CHANNEL_OF_IMAGE = 1;

/** Stands for input `k` inside a region. */
export const hole = (k: number, { shape, layout, label }: Tensor): Tensor => ({
  shape,
  layout,
  label,
  source: { kind: "input", name: String(k) },
});

/** A sum over the pixels of each image, added to another. x [N,C,H,W], start [N,C,1,1] → [N,C,1,1]. */
export const sumOntoOp: Op<null> = defineOp<null>({
  name: "sum_onto",
  shape: ([x, start]) => {
    expectSame("sum_onto", "start", start, [x[0], x[1], 1, 1]);
    return start;
  },
  layout: "activation",
  vjp: null,
  reference: ({ inputs: [x, start], output }) => {
    output.set(start);
    const pixels = x.length / output.length;
    x.forEach((value, i) => {
      output[Math.floor(i / pixels)] += value;
    });
  },
  native: ({ inputs }) => {
    const [x, start] = inputs.map((input, k) => hole(k, input));
    return { kernel: "region", params: encodeRegion(inputs, [apply(sumOntoOp, [x, start], null)]) };
  },
});

/** What a tensor is to a region of shape [N,C,H,W], as the kernel counts: all of it, [N,C], [N,H,W], [C], [2,C]. */
export function extentOf(shape: Shape, [n, c, h, w]: Shape): number | undefined {
  const { images } = walked([n, c, h, w]);
  const extents: readonly Shape[] = [[n, c, h, w], [images, c, 1, 1], [n, 1, h, w], [c], [2, c]];
  // what is repeated over all images is a channel's, too, where there is but one of them
  const long = images === 1 && shape.length === 3 ? [1, ...shape] : shape;
  const extent = extents.findIndex((known) => sameShape(known, long));
  return extent < 0 ? undefined : extent;
}

/** Parameters of the kernel `region`: operands are the inputs, then the roots. */
export function encodeRegion(inputs: readonly Tensor[], roots: readonly Tensor[]): number[] {
  const full = regionShape(roots[0]);
  const { instructions, temporaries } = new Assembler(inputs.length, roots, full).assemble();
  const extents = [...inputs, ...roots].map(({ shape }) => {
    const extent = extentOf(shape, full);
    if (extent === undefined) throw new Error(`${showShape(shape)} does not fit region ${showShape(full)}`);
    return extent;
  });
  const coded = instructions.flatMap(({ opcode, to, from, relu = false, value = 0 }) => {
    const references = [...from, ...new Array<Reference>(5 - from.length).fill(NONE)];
    return [opcodes.indexOf(opcode), to, ...references, Number(relu), value];
  });
  const { images, pixels } = walked(full);
  const head = [extents.length, images, pixels, full[1], temporaries, instructions.length, ...extents];
  return [1 + head.length + coded.length, ...head, ...coded];
}

/** Inputs whose memory the root of that index may take: none is read once it is written. */
export function replaceable(inputs: readonly Tensor[], roots: readonly Tensor[], index: number): number[] {
  const { instructions } = new Assembler(inputs.length, roots, regionShape(roots[0])).assemble();
  const written = instructions.findIndex(({ to }) => to === inputs.length + index);
  const viewed = (x: Tensor): Tensor => {
    const node = nodeOf(x);
    return node && isView(node) ? viewed(node.inputs[0]) : x;
  };
  const later = instructions.slice(written + 1).flatMap(({ from }) => from);
  const needed = new Set(later.flatMap((k) => (inputs[k] ? [viewed(inputs[k])] : [])));
  return [...inputs.keys()].filter(
    (k) => sameShape(inputs[k].shape, roots[index].shape) && !needed.has(viewed(inputs[k])),
  );
}

/** Turns the ops of a region into instructions, some of them two or three ops in one. */
class Assembler {
  readonly #roots: readonly Tensor[];
  readonly #full: Shape;
  readonly #inputs: number;
  readonly #order: readonly Tensor[];
  readonly #uses = new Map<Tensor, number>();
  readonly #absorbed = new Set<Tensor>();
  readonly #virtual = new Map<Tensor, Reference>();
  readonly #code: Instruction[] = [];
  #next = -1;

  constructor(inputs: number, roots: readonly Tensor[], full: Shape) {
    this.#inputs = inputs;
    this.#roots = roots;
    this.#full = full;
    this.#order = topologicalOrder(roots);
    for (const x of this.#order) {
      for (const source of nodeOf(x)?.inputs ?? []) this.#uses.set(source, (this.#uses.get(source) ?? 0) + 1);
    }
  }

  assemble() {
    // the outermost op first: relu(add(add(multiply))) is a chain of instructions
    for (const x of [...this.#order].reverse()) {
      const node = nodeOf(x);
      if (!node) continue;
      if (is(x, sumToOp, sumOntoOp, meanOp)) this.#absorb(node.inputs[0], multiplyOp);
      if (is(x, reluOp)) this.#absorb(node.inputs[0], batchNormOp, addOp, multiplyOp);
      if (is(x, addOp)) for (const part of node.inputs) this.#absorb(part, addOp, multiplyOp, selectEqualOp);
    }
    for (const x of this.#order) {
      const node = nodeOf(x);
      if (node && !this.#absorbed.has(x) && !(is(x, broadcastToOp) && !this.#roots.includes(x)))
        this.#emit(node);
    }
    return allocate(this.#code);
  }

  /** An op that only one other reads may become part of that one's instruction. */
  #absorb(x: Tensor, ...ops: readonly { readonly name: string }[]): boolean {
    if (!is(x, ...ops) || this.#uses.get(x) !== 1 || this.#roots.includes(x)) return false;
    this.#absorbed.add(x);
    return true;
  }

  #emit(node: OpNode, relu = false, result = node.output): void {
    const [a, b, ...rest] = node.inputs;
    const into = (opcode: Instruction["opcode"], from: readonly Reference[], value = 0) =>
      this.#code.push({ opcode, to: this.#target(result), from, relu, value });
    const { eps = 0, factor = 1 } = (node.attrs ?? {}) as { eps?: number; factor?: number };
    const { pixels } = walked(this.#full);
    const overSpace = extentOf(node.output.shape, this.#full) === PER_CHANNEL_OF_IMAGE;
    switch (node.op.name) {
      case reluOp.name: {
        const inner = nodeOf(a);
        if (inner && this.#absorbed.has(a)) this.#emit(inner, true, result);
        else
          this.#code.push({ opcode: "copy", to: this.#target(result), from: [this.#value(a)], relu: true });
        return;
      }
      case batchNormOp.name:
        into("norm", [this.#block(a), ...[b, ...rest].map((x) => this.#value(x))], eps);
        return;
      case batchNormInputGradOp.name:
        into("norm_grad", [this.#block(a), this.#block(b), ...rest.map((x) => this.#value(x))], eps);
        return;
      case addOp.name:
        this.#emitSum(node, relu, result);
        return;
      case multiplyOp.name:
        into("multiply_add", this.#pair(a, b));
        return;
      case divideOp.name:
        into("divide", [this.#block(a), this.#value(b)]);
        return;
      case sigmoidGradOp.name:
        into("sigmoid_grad", [this.#block(a), this.#value(b)]);
        return;
      case scaleOp.name:
        into("scale", [this.#block(a)], factor);
        return;
      case equalOp.name:
        into("equal", this.#pair(a, b));
        return;
      case selectEqualOp.name:
        into("select_equal", [this.#block(a), this.#value(b), this.#value(rest[0])]);
        return;
      case reluGradOp.name:
        into("mask", [this.#block(a), this.#block(b)]);
        return;
      case broadcastToOp.name:
        into("copy", [this.#value(a)]);
        return;
      case sumToOp.name:
        into(overSpace ? "sum_pixels" : "sum_channels", this.#summed(a), 1);
        return;
      case sumOntoOp.name: {
        const [x, y = NONE] = this.#summed(a);
        into("sum_pixels", [x, y, this.#value(b)], 1);
        return;
      }
      case meanOp.name:
        if (overSpace) into("sum_pixels", this.#summed(a), 1 / pixels);
        else into("sum_channels", this.#summed(a), 1 / this.#full[1]);
        return;
      case maxOp.name:
        into(overSpace ? "max_pixels" : "max_channels", [this.#block(a)]);
        return;
      case batchNormGradSumsOp.name:
        into("grad_sums", [this.#block(a), this.#block(b), this.#value(rest[0])], eps);
        return;
      default:
        throw new Error(`a region has no instruction for ${node.op.name}`);
    }
  }

  /** What is summed: a value, or the two whose product it is. */
  #summed(x: Tensor): Reference[] {
    return this.#absorbed.has(x) ? nodeOf(x)!.inputs.map((factor) => this.#block(factor)) : [this.#block(x)];
  }

  /** A sum of products, gradients of maxima and other values: one instruction for each of the first two. */
  #emitSum(node: OpNode, relu: boolean, result: Tensor): void {
    const terms = this.#terms(node);
    const products = terms.filter((x) => this.#absorbed.has(x) && is(x, multiplyOp));
    const selected = terms.filter((x) => this.#absorbed.has(x) && is(x, selectEqualOp));
    const values = terms.filter((x) => !products.includes(x) && !selected.includes(x));
    // the last instruction must be one that knows ReLU: a product or an addition
    const late = relu && products.length === 0 && selected.length > 0 ? values.splice(-1) : [];
    const first = values.shift();
    let sum = first ? this.#value(first) : NONE;
    let isBlock = first !== undefined && this.#isFull(first);
    const add = (x: Tensor) => ["add", isBlock ? [sum, this.#value(x)] : [this.#block(x), sum]] as const;
    const steps = [
      ...values.map((x) => () => add(x)),
      ...selected.map((x) => () => {
        const [values, maxima, share] = nodeOf(x)!.inputs;
        const from = [this.#block(values), this.#value(maxima), this.#value(share), sum];
        return ["select_equal", from] as const;
      }),
      ...products.map((x) => () => {
        const [a, b] = nodeOf(x)!.inputs;
        return ["multiply_add", [...this.#pair(a, b), sum]] as const;
      }),
      ...late.map((x) => () => add(x)),
    ];
    steps.forEach((step, k) => {
      const last = k === steps.length - 1;
      const [opcode, from] = step();
      const to = last ? this.#target(result) : this.#next--;
      this.#code.push({ opcode, to, from, relu: last && relu });
      [sum, isBlock] = [to, true];
    });
  }

  /** What a chain of additions adds. */
  #terms({ inputs }: OpNode): Tensor[] {
    return inputs.flatMap((x) => (this.#absorbed.has(x) && is(x, addOp) ? this.#terms(nodeOf(x)!) : [x]));
  }

  #target(x: Tensor): Reference {
    const root = this.#roots.indexOf(x);
    const to = root < 0 ? this.#next-- : this.#inputs + root;
    this.#virtual.set(x, to);
    return to;
  }

  /** Where a value is; what is only repeated is read where it comes from. */
  #value(x: Tensor): Reference {
    if (x.source.kind === "input") return Number(x.source.name);
    const known = this.#virtual.get(x);
    if (known !== undefined) return known;
    if (is(x, broadcastToOp)) return this.#value(nodeOf(x)!.inputs[0]);
    throw new Error(`${x.label} is read before it is computed`);
  }

  #isFull(x: Tensor): boolean {
    if (this.#virtual.has(x)) return true;
    return is(x, broadcastToOp) ? this.#isFull(nodeOf(x)!.inputs[0]) : sameShape(x.shape, this.#full);
  }

  /** A value as a block of its own, repeated where it must be. */
  #block(x: Tensor): Reference {
    const value = this.#value(x);
    if (this.#isFull(x)) return value;
    const to = this.#next--;
    this.#code.push({ opcode: "copy", to, from: [value] });
    return to;
  }

  /** Operands of a commutative instruction, whose first is a block. */
  #pair(a: Tensor, b: Tensor): [Reference, Reference] {
    const [first, second] = this.#isFull(a) ? [a, b] : [b, a];
    return [this.#block(first), this.#value(second)];
  }
}

/** Gives values in workspace as few blocks as their lifetimes allow: −1 is the first. */
function allocate(code: readonly Instruction[]): { instructions: Instruction[]; temporaries: number } {
  const last = new Map<Reference, number>();
  code.forEach(({ from }, at) => {
    for (const reference of from) if (reference < 0) last.set(reference, at);
  });
  const places = new Map<Reference, Reference>();
  const free: Reference[] = [];
  let temporaries = 0;
  const instructions = code.map((instruction, at) => {
    const from = instruction.from.map((reference) => places.get(reference) ?? reference);
    for (const reference of new Set(instruction.from)) {
      if (reference < 0 && last.get(reference) === at) free.push(places.get(reference)!);
    }
    let { to } = instruction;
    if (to < 0) {
      const place = free.pop() ?? -++temporaries;
      places.set(to, place);
      to = place;
    }
    return { ...instruction, to, from };
  });
  return { instructions, temporaries };
}
