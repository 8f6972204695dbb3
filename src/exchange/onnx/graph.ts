import type { Tensor } from "../../tensor/tensor.ts";
import { type Shape, sizeOf } from "../../tensor/tensor.ts";
import {
  type AttributeProto,
  FLOAT,
  INT64,
  type NodeProto,
  type TensorProto,
  type ValueProto,
} from "./proto.ts";

/**
 * Stands for the batch while a graph is built for export: a prime that no other dimension is a multiple of, so that
 * every dimension which is one depends on the batch.
 */
export const BATCH = 1_000_003;

/** Begins the names of tensors that are no variables of the model. */
export const CONSTANT = "@";

type Attribute = number | readonly number[] | string | TensorProto;

/** Attributes that are whole numbers are INT; a number in `floats` is FLOAT. */
export interface NodeOptions {
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly floats?: Readonly<Record<string, number>>;
  readonly outputs?: number;
}

/** Gathers the nodes and constants of an ONNX graph. */
export class OnnxGraph {
  readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  readonly #constants = new Map<string, string>();
  readonly #names = new Set<string>();
  /** Shape of one input whose first dimension is the batch. */
  readonly #batchInput: string;
  #batch: string | undefined;

  /** @param batchInput name of an input [N, …]. */
  constructor(batchInput: string) {
    this.#batchInput = batchInput;
  }

  /** A name nobody has yet. */
  name(wish: string): string {
    let name = wish;
    for (let k = 1; this.#names.has(name); k++) name = `${wish}_${k}`;
    this.#names.add(name);
    return name;
  }

  /** Adds a node; the name of its first output. */
  node(type: string, inputs: readonly string[], label: string, options: NodeOptions = {}): string {
    return this.nodeOf(type, inputs, label, options)[0];
  }

  nodeOf(
    type: string,
    inputs: readonly string[],
    label: string,
    { attributes = {}, floats = {}, outputs = 1 }: NodeOptions = {},
  ): string[] {
    const name = this.name(`${label ? `${label}/` : ""}${type}`);
    const output = Array.from({ length: outputs }, (_, k) => (k === 0 ? name : this.name(`${name}:${k}`)));
    const attribute = [
      ...Object.entries(attributes).map(([key, value]) => attributeOf(key, value)),
      ...Object.entries(floats).map(([key, f]): AttributeProto => ({ name: key, type: 1, f })),
    ];
    this.nodes.push({ op_type: type, name, input: inputs, output, attribute });
    return output;
  }

  /** A variable under its own name. */
  variable(name: string, shape: Shape, values: Float32Array): string {
    this.#names.add(name);
    this.initializers.push({ name, dims: shape, data_type: FLOAT, raw_data: bytesOf(values) });
    return name;
  }

  /** A float tensor that belongs to the graph, not to the model. */
  floats(name: string, shape: Shape, values: Float32Array): string {
    return this.variable(this.name(CONSTANT + name), shape, values);
  }

  /** Ends in an output of this name. */
  output(name: string, x: string): void {
    this.#names.add(name);
    this.nodes.push({
      op_type: "Identity",
      name: `${name}/Identity`,
      input: [x],
      output: [name],
      attribute: [],
    });
  }

  scalar(value: number): string {
    const key = `f${value}`;
    const known = this.#constants.get(key);
    if (known) return known;
    const name = this.floats(`constant_${value}`, [], Float32Array.of(value));
    this.#constants.set(key, name);
    return name;
  }

  /** A list of whole numbers, as shapes and axes are. */
  ints(values: readonly number[]): string {
    const key = `i${values.join(",")}`;
    const known = this.#constants.get(key);
    if (known) return known;
    const name = this.name(`${CONSTANT}ints_${values.join("_")}`);
    const raw_data = bytesOf(BigInt64Array.from(values, BigInt));
    this.initializers.push({ name, dims: [values.length], data_type: INT64, raw_data });
    this.#constants.set(key, name);
    return name;
  }

  /** A shape as a tensor, its batch taken from the input. */
  shape(shape: Shape): string {
    if (!shape.some(isDynamic)) return this.ints(shape);
    const parts = shape.map((length) => {
      if (!isDynamic(length)) return this.ints([length]);
      return length === BATCH
        ? this.batch()
        : this.node("Mul", [this.batch(), this.ints([length / BATCH])], "");
    });
    return this.node("Concat", parts, "shape", { attributes: { axis: 0 } });
  }

  /** The batch [1]. */
  batch(): string {
    this.#batch ??= this.node("Shape", [this.#batchInput], "batch", { attributes: { start: 0, end: 1 } });
    return this.#batch;
  }

  /** x under another shape. */
  reshape(x: string, shape: Shape, label: string): string {
    const dynamic = shape.filter(isDynamic).length;
    const target = dynamic > 1 ? this.shape(shape) : this.ints(shape.map((n) => (isDynamic(n) ? -1 : n)));
    return this.node("Reshape", [x, target], label);
  }
}

export const isDynamic = (length: number) => length !== 0 && length % BATCH === 0;

const bytesOf = (values: Float32Array | BigInt64Array) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

function attributeOf(name: string, value: Attribute): AttributeProto {
  if (typeof value === "number") return { name, type: 2, i: value };
  if (typeof value === "string") return { name, type: 3, s: new TextEncoder().encode(value) };
  return "dims" in value ? { name, type: 4, t: value } : { name, type: 7, ints: value };
}

/** A float tensor as an attribute. */
export function tensorAttribute(values: readonly number[], dims: Shape = [values.length]): TensorProto {
  if (sizeOf(dims) !== values.length) throw new Error(`${values.length} values for ${dims}`);
  return { dims, data_type: FLOAT, raw_data: bytesOf(Float32Array.from(values)) };
}

/** Declares an input or output of the graph; the batch is called N. */
export function declared(name: string, { shape }: Pick<Tensor, "shape">): ValueProto {
  const dim = shape.map((length) => (length === BATCH ? { dim_param: "N" } : { dim_value: length }));
  return { name, type: { tensor_type: { elem_type: FLOAT, shape: { dim } } } };
}
