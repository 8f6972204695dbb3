import { shorten } from "../../files/shorten.ts";
import type { Layer, LayerOf } from "../../models/layer-graph.ts";
import { UserError } from "../../tensor/errors.ts";
import type { KerasLayer } from "./config.ts";

type Rest<L> = L extends Layer ? Omit<L, "name" | "inputs" | "weightsOf"> : never;
/** A layer of ours without its name and its inputs. */
export type Unnamed = Rest<Layer>;

/** A layer of Keras' as ours, one after the other; the last may be followed by a softmax. */
export interface Converted {
  readonly layers: readonly Unnamed[];
  readonly softmax?: boolean;
  /** Axes of the result without the batch: 3 for maps (height, width, channels), 2, or 1 for features. */
  readonly rank: number;
}

/** Asks a layer's configuration for values; says which layer it is about where one is not as it should be. */
export class Settings {
  readonly #layer: KerasLayer;
  readonly #where: string;

  constructor(layer: KerasLayer, where: string) {
    this.#layer = layer;
    this.#where = where;
  }

  refuse(problem: string): UserError {
    return new UserError(`${this.#where} (${shorten(this.#layer.type)}): ${problem}`);
  }

  of(key: string): unknown {
    return this.#layer.config[key];
  }

  #read<T>(key: string, expected: string, isIt: (value: unknown) => value is T, otherwise?: T): T {
    const value = this.of(key) ?? otherwise;
    if (isIt(value)) return value;
    throw this.refuse(`${key} is ${shorten(JSON.stringify(value) ?? "missing")}, expected ${expected}`);
  }

  number(key: string, otherwise?: number): number {
    return this.#read(
      key,
      "a number",
      (v): v is number => typeof v === "number" && Number.isFinite(v),
      otherwise,
    );
  }

  whole(key: string): number {
    return this.#read(key, "a whole number above 0", isCount);
  }

  flag(key: string, otherwise?: boolean): boolean {
    return this.#read(key, "true or false", (v): v is boolean => typeof v === "boolean", otherwise);
  }

  list(key: string): readonly number[] {
    const isList = (v: unknown): v is number[] => Array.isArray(v) && v.every((x) => Number.isInteger(x));
    const value = this.of(key);
    return typeof value === "number" ? [value] : this.#read(key, "whole numbers", isList);
  }

  /** One number for each axis of `axes`, or one for all. */
  counts(key: string, axes: number, otherwise?: readonly number[]): readonly number[] {
    const value = this.of(key) ?? otherwise;
    const all = isCount(value) ? new Array<number>(axes).fill(value) : value;
    if (Array.isArray(all) && all.length === axes && all.every(isCount)) return all;
    throw this.refuse(
      `${key} is ${shorten(JSON.stringify(value) ?? "missing")}, expected ${axes} whole numbers`,
    );
  }

  padding(): "valid" | "same" {
    const value = String(this.of("padding") ?? "valid").toLowerCase();
    if (value === "valid" || value === "same") return value;
    throw this.refuse(`padding is ${shorten(value)}, expected valid or same`);
  }

  /** Only what this program computes too. */
  expectPlain(plain: Readonly<Record<string, unknown>>): void {
    for (const [key, usual] of Object.entries(plain)) {
      const value = this.of(key);
      const values = Array.isArray(value) ? value : [value ?? usual];
      if (values.every((one) => one === usual)) continue;
      throw this.refuse(`${key} is ${shorten(JSON.stringify(value))}, only ${JSON.stringify(usual)} is read`);
    }
  }
}

const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) > 0;

type Convert = (settings: Settings, ranks: readonly number[]) => Converted;

const one = (layer: Unnamed, rank: number): Converted => ({ layers: [layer], rank });

/** Layers with an activation of their own; a name or, in newer files, an object with one. */
function activated(s: Settings, layers: readonly Unnamed[], rank: number): Converted {
  const given = s.of("activation") ?? "linear";
  const { config, class_name: type } = (typeof given === "object" ? given : {}) as Record<string, unknown>;
  const name = typeof given === "string" ? given : typeof config === "string" ? config : type;
  if (name === "linear") return { layers, rank };
  if (name === "softmax") return { layers, rank, softmax: true };
  const known = functions.get(String(name));
  if (!known) {
    throw s.refuse(
      `activation ${shorten(JSON.stringify(given))} is not among ${[...functions.keys(), "softmax"].join(", ")}`,
    );
  }
  return { layers: [...layers, { kind: "activation", function: known }], rank };
}

const functions: ReadonlyMap<string, LayerOf<"activation">["function"]> = new Map([
  ["linear", "linear"],
  ["relu", "relu"],
  ["relu6", "relu6"],
  ["sigmoid", "sigmoid"],
  ["tanh", "tanh"],
  ["silu", "silu"],
  ["swish", "silu"],
]);

const FORMAT = { data_format: "channels_last" };

/** Extents of height and width; a layer in one dimension has height 1. */
const extents = (values: readonly number[]): [number, number] =>
  values.length === 1 ? [1, values[0]] : [values[0], values[1]];

const convolution =
  (axes: number): Convert =>
  (s) => {
    s.expectPlain({ ...FORMAT, dilation_rate: 1, groups: 1 });
    const conv: Unnamed = {
      kind: "conv",
      filters: s.whole("filters"),
      kernel: extents(s.counts("kernel_size", axes)),
      stride: extents(s.counts("strides", axes, new Array(axes).fill(1))),
      padding: s.padding(),
      bias: s.flag("use_bias", true),
    };
    return activated(s, [conv], axes + 1);
  };

const pooling =
  (mode: "max" | "average", axes: number): Convert =>
  (s) => {
    s.expectPlain(FORMAT);
    const kernel = s.counts("pool_size", axes, new Array(axes).fill(2));
    const stride = s.counts("strides", axes, kernel);
    const padding = s.padding();
    return one({ kind: "pool", mode, kernel: extents(kernel), stride: extents(stride), padding }, axes + 1);
  };

const globalPooling =
  (mode: "max" | "average", axes: number): Convert =>
  (s) => {
    s.expectPlain(FORMAT);
    return one({ kind: "globalPool", mode }, s.flag("keepdims", false) ? axes + 1 : 1);
  };

const merging =
  (name: LayerOf<"merge">["function"]): Convert =>
  (s, ranks) => {
    const axis = s.of("axis") ?? null;
    if (axis !== null)
      throw s.refuse(`axis is ${shorten(JSON.stringify(axis))}, expected results of layers alone`);
    return one({ kind: "merge", function: name }, Math.max(...ranks));
  };

const same =
  (layer: Unnamed): Convert =>
  (_, [rank]) =>
    one(layer, rank);

const dropout: Convert = (s, [rank]) => one({ kind: "dropout", rate: s.number("rate") }, rank);

/** Layers of Keras' that are read, by class. */
export const stock: ReadonlyMap<string, Convert> = new Map<string, Convert>([
  ["Conv2D", convolution(2)],
  ["Conv1D", convolution(1)],
  [
    "Dense",
    (s, [rank]) =>
      activated(s, [{ kind: "dense", units: s.whole("units"), bias: s.flag("use_bias", true) }], rank),
  ],
  [
    "BatchNormalization",
    (s, [rank]) => {
      const axes = s.of("axis") === undefined ? [-1] : s.list("axis");
      if (axes.length !== 1 || (axes[0] !== -1 && axes[0] !== rank)) {
        throw s.refuse(`axis is [${axes}], expected the last one, the channels`);
      }
      s.expectPlain({ renorm: false });
      const eps = s.number("epsilon", 1e-3);
      const momentum = 1 - s.number("momentum", 0.99);
      return one(
        { kind: "batchNorm", eps, momentum, scale: s.flag("scale", true), center: s.flag("center", true) },
        rank,
      );
    },
  ],
  ["Activation", (s, [rank]) => activated(s, [], rank)],
  [
    "ReLU",
    (s, [rank]) => {
      s.expectPlain({ threshold: 0 });
      const [most, slope] = [s.of("max_value") ?? null, s.number("negative_slope", 0)];
      if ((most !== null && most !== 6) || (most === 6 && slope !== 0)) {
        throw s.refuse(`max_value is ${JSON.stringify(most)} with slope ${slope}, only 6 is read`);
      }
      if (slope !== 0) return one({ kind: "activation", function: "leakyRelu", slope }, rank);
      return one({ kind: "activation", function: most === null ? "relu" : "relu6" }, rank);
    },
  ],
  [
    "LeakyReLU",
    (s, [rank]) => {
      const slope = s.number("negative_slope", s.number("alpha", 0.3));
      return one({ kind: "activation", function: "leakyRelu", slope }, rank);
    },
  ],
  [
    "Softmax",
    (s, [rank]) => {
      s.expectPlain({ axis: -1 });
      return { layers: [], softmax: true, rank };
    },
  ],
  ["Add", merging("add")],
  ["Subtract", merging("subtract")],
  ["Multiply", merging("multiply")],
  ["Average", merging("average")],
  [
    "Concatenate",
    (s, [rank]) => {
      const axis = s.number("axis", -1);
      const names = ["height", "width", "channel"] as const;
      const name = names[(axis < 0 ? rank + axis : axis - 1) + 3 - rank];
      if (!Number.isInteger(axis) || axis === 0 || name === undefined) {
        throw s.refuse(`axis is ${axis}, expected one of a tensor with ${rank} axes beside the batch`);
      }
      return one({ kind: "concat", axis: name }, rank);
    },
  ],
  [
    "ZeroPadding2D",
    (s) => {
      s.expectPlain(FORMAT);
      const given = s.of("padding");
      const sides = Array.isArray(given) ? given : [given, given];
      const margins = sides.map((side) => (Array.isArray(side) ? side : [side, side])) as [
        [number, number],
        [number, number],
      ];
      if (margins.length !== 2 || !margins.flat().every((x) => Number.isInteger(x) && x >= 0)) {
        throw s.refuse(
          `padding is ${shorten(JSON.stringify(given) ?? "missing")}, expected zeros for each side`,
        );
      }
      return one({ kind: "zeroPadding", margins }, 3);
    },
  ],
  ["MaxPooling2D", pooling("max", 2)],
  ["AveragePooling2D", pooling("average", 2)],
  ["MaxPooling1D", pooling("max", 1)],
  ["AveragePooling1D", pooling("average", 1)],
  ["GlobalMaxPooling2D", globalPooling("max", 2)],
  ["GlobalAveragePooling2D", globalPooling("average", 2)],
  ["GlobalMaxPooling1D", globalPooling("max", 1)],
  ["GlobalAveragePooling1D", globalPooling("average", 1)],
  [
    "Flatten",
    (s) => {
      s.expectPlain(FORMAT);
      return one({ kind: "reshape", shape: [1, 1, -1] }, 1);
    },
  ],
  [
    "Reshape",
    (s) => {
      const shape = s.list("target_shape");
      if (shape.length < 1 || shape.length > 3) {
        throw s.refuse(`target_shape is [${shape}], expected 1 to 3 lengths`);
      }
      const padded = [...new Array<number>(3 - shape.length).fill(1), ...shape];
      return one({ kind: "reshape", shape: padded as [number, number, number] }, shape.length);
    },
  ],
  [
    "Permute",
    (s, [rank]) => {
      const dims = s.list("dims");
      const added = 3 - rank;
      const order = [...new Array(added).keys(), ...dims.map((axis) => axis - 1 + added)];
      if ([...order].sort().join() !== "0,1,2") throw s.refuse(`dims is [${dims}] for ${rank} axes`);
      return one({ kind: "permute", order: order as [number, number, number] }, rank);
    },
  ],
  ["Dropout", dropout],
  ["SpatialDropout1D", dropout],
  ["SpatialDropout2D", dropout],
  [
    "Rescaling",
    (s, [rank]) => one({ kind: "rescale", scale: s.number("scale"), offset: s.number("offset", 0) }, rank),
  ],
  ["Identity", same({ kind: "activation", function: "linear" })],
]);
