import { Random } from "../random/random.ts";
import { ShapeError } from "../tensor/errors.ts";
import {
  type Layout,
  type Shape,
  sameShape,
  showShape,
  type Tensor,
  type Variable,
  variableOf,
} from "../tensor/tensor.ts";
import {
  type Initialization,
  type InitializationName,
  type Initializer,
  initializations,
} from "./initializers.ts";

/** The variables of a model by name, shared by all its graphs. */
export class Variables {
  readonly seed: number;
  readonly #tensors = new Map<string, Tensor>();

  /** @param seed variables of equal name and shape start equal in every model of the same seed. */
  constructor(seed: number) {
    this.seed = seed;
  }

  /** The variable of this name, made at its first use. */
  get(name: string, shape: Shape, kind: Variable["kind"], layout: Layout, initializer: Initializer): Tensor {
    const known = this.#tensors.get(name);
    if (known) {
      if (!sameShape(known.shape, shape)) {
        throw new ShapeError(
          "variable",
          `has shape ${showShape(known.shape)}, asked for as ${showShape(shape)}`,
          name,
        );
      }
      return known;
    }
    const { seed } = this;
    const initialize = (values: Float32Array) =>
      initializer(values, shape, new Random(seed, "parameter", name));
    const variable: Variable = { name, shape, layout, kind, initialize };
    const tensor: Tensor = { shape, layout, source: { kind: "variable", variable }, label: name };
    this.#tensors.set(name, tensor);
    return tensor;
  }

  /** In the order in which the model made them. */
  tensors(kind?: Variable["kind"]): Tensor[] {
    return [...this.#tensors.values()].filter((x) => !kind || variableOf(x).kind === kind);
  }

  all(): Variable[] {
    return this.tensors().map(variableOf);
  }
}

/** Constants of batch normalisation. */
export interface BatchNormOptions {
  readonly eps: number;
  /** Share of the new batch: new = (1 − m)·old + m·batch. */
  readonly momentum: number;
}

interface Settings {
  readonly training: boolean;
  /** Whether the layer of this path stays in evaluation mode while the others are trained. */
  readonly frozen?: (path: string) => boolean;
  /** Of every batch normalisation that does not say otherwise. */
  readonly batchNorm: BatchNormOptions;
  readonly initialization?: InitializationName;
}

interface Record extends Settings {
  readonly variables: Variables;
  readonly effects: Tensor[];
  readonly layers: Map<string, Tensor>;
}

/** Where a layer finds its parameters, and where it leaves what a run does beside its output. */
export class Scope {
  readonly path: string;
  readonly #record: Record;

  private constructor(path: string, record: Record) {
    this.path = path;
    this.#record = record;
  }

  static root(variables: Variables, settings: Settings): Scope {
    return new Scope("", { variables, ...settings, effects: [], layers: new Map() });
  }

  get training(): boolean {
    return this.#record.training && !this.#record.frozen?.(this.path);
  }

  get batchNorm(): BatchNormOptions {
    return this.#record.batchNorm;
  }

  get initialization(): Initialization {
    return initializations[this.#record.initialization ?? "torch"];
  }

  /** Overwriting ops of the forward pass: running statistics. */
  get effects(): readonly Tensor[] {
    return this.#record.effects;
  }

  /** Outputs of named layers, for heatmaps and listings. */
  get layers(): ReadonlyMap<string, Tensor> {
    return this.#record.layers;
  }

  #name(name: string): string {
    return this.path ? `${this.path}.${name}` : name;
  }

  scope(name: string): Scope {
    return new Scope(this.#name(name), this.#record);
  }

  /** A trained variable; rank 2 and 4 are kernels [O,I], [O,I,KH,KW]. */
  parameter(name: string, shape: Shape, initializer: Initializer): Tensor {
    const layout = shape.length === 2 || shape.length === 4 ? "kernel" : "activation";
    return this.#record.variables.get(this.#name(name), shape, "parameter", layout, initializer);
  }

  /** A running statistic. */
  statistic(name: string, shape: Shape, initializer: Initializer): Tensor {
    return this.#record.variables.get(this.#name(name), shape, "statistic", "activation", initializer);
  }

  effect(op: Tensor): void {
    op.label ||= this.path;
    this.#record.effects.push(op);
  }

  /** Builds a layer inside the scope `name`: places its errors and keeps its output under that name. */
  layer(name: string, build: (nn: Scope) => Tensor): Tensor {
    const nn = this.scope(name);
    let output: Tensor;
    try {
      output = build(nn);
    } catch (error) {
      throw error instanceof ShapeError ? error.at(nn.path) : error;
    }
    output.label ||= nn.path;
    this.#record.layers.set(nn.path, output);
    return output;
  }
}
