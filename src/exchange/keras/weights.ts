import { shorten } from "../../files/shorten.ts";
import type { Layer, LayerGraph } from "../../models/layer-graph.ts";
import { UserError } from "../../tensor/errors.ts";
import { reorder } from "../../tensor/layout.ts";
import { type Shape, sameShape, showShape } from "../../tensor/tensor.ts";
import { variablesOf } from "../../train/trained.ts";
import type { Weights } from "../../train/weights.ts";
import type { StoredLayer } from "./stored.ts";

/** A parameter or statistic of ours and where Keras keeps it. */
export interface Slot {
  /** Ours: `conv1.weight`. */
  readonly name: string;
  readonly shape: Shape;
  /** Keras': `kernel`. */
  readonly keras: string;
  readonly kerasShape: Shape;
  readonly trained: boolean;
}

export interface Holder {
  readonly layer: Layer;
  /** In the order in which Keras keeps a layer's weights. */
  readonly slots: readonly Slot[];
}

type Names = Readonly<Record<string, string>>;
/** Keras' names of a layer's weights by ours, in Keras' order. */
const NAMES: Readonly<Partial<Record<Layer["kind"], Names>>> = {
  conv: { weight: "kernel", bias: "bias" },
  dense: { weight: "kernel", bias: "bias" },
  batchNorm: { weight: "gamma", bias: "beta", running_mean: "moving_mean", running_var: "moving_variance" },
};

/** Kernels are [height, width, in, out] and [in, out]. */
const kerasShapeOf = (shape: Shape): Shape =>
  shape.length === 4 ? [shape[2], shape[3], shape[1], shape[0]] : [...shape].reverse();

/** The layers of a graph that hold weights, in its order. @throws ShapeError when its layers do not fit together. */
export function holdersOf(model: LayerGraph, image: readonly [number, number]): Holder[] {
  const variables = new Map(variablesOf({ model, image }).map((variable) => [variable.name, variable]));
  return model.layers.flatMap((layer): Holder[] => {
    const names = NAMES[layer.kind];
    if (!names || layer.weightsOf !== undefined) return [];
    const slots = Object.entries(names).flatMap(([ours, keras]): Slot[] => {
      const variable = variables.get(`${layer.name}.${ours}`);
      if (!variable) return [];
      const { name, shape, kind } = variable;
      return [{ name, shape, keras, kerasShape: kerasShapeOf(shape), trained: kind === "parameter" }];
    });
    return [{ layer, slots }];
  });
}

const isKernel = (shape: Shape) => shape.length === 2 || shape.length === 4;

/** A tensor as Keras lays it out. */
export function toKeras({ shape }: Slot, values: Float32Array): Float32Array {
  if (!isKernel(shape)) return values;
  const turned = new Float32Array(values.length);
  reorder(values, turned, shape, "kernel", true);
  return turned;
}

function fromKeras({ shape }: Slot, values: Float32Array): Float32Array {
  if (!isKernel(shape)) return values;
  const turned = new Float32Array(values.length);
  reorder(values, turned, shape, "kernel", false);
  return turned;
}

/** A kernel without leading extents of 1: dense layers, and convolutions in one dimension, are ours in two as well. */
export const essential = (shape: Shape): Shape =>
  shape.length > 2 && shape[0] === 1 ? essential(shape.slice(1)) : shape;

/**
 * Values for every slot, each holder from its own stored layer.
 * @throws UserError listing everything that is missing, unexpected, of another shape or no floats.
 */
export function collect(
  where: string,
  pairs: readonly (readonly [Holder, StoredLayer | undefined])[],
  further: readonly string[],
): Weights {
  const weights = new Map<string, Float32Array>();
  const problems: string[] = [];
  for (const [{ layer, slots }, stored] of pairs) {
    if (!stored) {
      problems.push(`${layer.name} is missing`);
      continue;
    }
    const left = new Set(stored.weights.keys());
    slots.forEach((slot, k) => {
      const key = stored.weights.has(slot.keras) ? slot.keras : String(k);
      const found = stored.weights.get(key);
      left.delete(key);
      const name = `${stored.name}/${slot.keras}`;
      if (!found) problems.push(`${name} is missing`);
      else if (!sameShape(essential(found.shape), essential(slot.kerasShape))) {
        problems.push(`${name} has shape ${showShape(found.shape)}, expected ${showShape(slot.kerasShape)}`);
      } else if (found.type.kind !== "float")
        problems.push(`${name} holds ${found.type.name}, expected floats`);
      else weights.set(slot.name, fromKeras(slot, found.floats()));
    });
    for (const name of left) problems.push(`${stored.name}/${name} is unexpected`);
  }
  problems.push(...further.map((name) => `${name} is unexpected`));
  if (problems.length === 0) return weights;
  const shown = problems.slice(0, MOST_PROBLEMS).map((problem) => shorten(problem));
  const more = problems.length > MOST_PROBLEMS ? `; and ${problems.length - MOST_PROBLEMS} more` : "";
  throw new UserError(`${where}: its tensors do not fit the model: ${shown.join("; ")}${more}`);
}

const MOST_PROBLEMS = 60;
