import { buildModel } from "../../models/build.ts";
import type { LayerGraph } from "../../models/layer-graph.ts";
import { Variables } from "../../nn/scope.ts";
import { type Shape, sameShape, showShape } from "../../tensor/tensor.ts";
import { layersInOrder } from "./describe.ts";
import type { StoredLayer } from "./stored.ts";
import { essential, type Holder } from "./weights.ts";

/** Each holder with its stored layer, and what does not fit among them. */
export interface Match {
  readonly pairs: readonly (readonly [Holder, StoredLayer | undefined])[];
  readonly misfits: readonly string[];
}

export interface Target {
  readonly model: LayerGraph;
  readonly image: readonly [number, number];
  /** Whether the layers stand in the order in which Keras had them: the model was read from its file. */
  readonly inKerasOrder: boolean;
  readonly holders: readonly Holder[];
}

/**
 * Stored layers for holders by their order alone. Keras sorts layers by their longest way to the output; of two as long
 * (a block's last convolution and its shortcut's) the code that made the model decides which is first, so both ways are
 * tried, and every tensor must have its very shape.
 * @returns all ways in which everything fits, else the one with the fewest misfits.
 */
export function matchesInOrder(target: Target, stored: readonly StoredLayer[]): Match[] {
  const { model, holders, inKerasOrder } = target;
  const single = onSinglePixels(target);
  const match = (order: readonly Holder[]) => inTurn(order, stored, single);
  const own = inKerasOrder ? [match(holders)] : [];
  if (own.some(({ misfits }) => misfits.length === 0)) return own;
  const all = [...own, ...[model, turned(model)].map((one) => match(sorted(one, target)))];
  const fitting = all.filter(({ misfits }) => misfits.length === 0);
  const distinct = fitting.filter((one, k) => !fitting.slice(0, k).some((other) => isSame(one, other)));
  return distinct.length > 0
    ? distinct
    : [all.reduce((best, one) => (one.misfits.length < best.misfits.length ? one : best))];
}

/** What is added, multiplied or averaged, the other way round. */
const turned = (model: LayerGraph): LayerGraph => ({
  ...model,
  layers: model.layers.map((layer) =>
    layer.kind === "merge" ? { ...layer, inputs: [...layer.inputs].reverse() } : layer,
  ),
});

function sorted(model: LayerGraph, { image, holders }: Target): Holder[] {
  const byName = new Map(holders.map((holder) => [holder.layer.name, holder]));
  return layersInOrder(model, image).flatMap(({ name }) => byName.get(name) ?? []);
}

function isSame(a: Match, b: Match): boolean {
  const of = new Map(a.pairs);
  return b.pairs.every(([holder, layer]) => of.get(holder) === layer);
}

/** Layers that read one pixel: Keras' users have dense layers there, or convolutions. */
function onSinglePixels({ model, image, holders }: Target): ReadonlySet<Holder> {
  const { nn } = buildModel(model, new Variables(0), { batch: 1, image, training: false });
  return new Set(
    holders.filter(({ layer: { inputs } }) => {
      const [, , height, width] = nn.layers.get(inputs[0])?.shape ?? [];
      return height === 1 && width === 1;
    }),
  );
}

const shapesOf = ({ weights }: StoredLayer): Shape[] => [...weights.values()].map(({ shape }) => shape);
/** How many weights a layer has, of how many axes. */
export const storedKind = (layer: StoredLayer) => kindOf(shapesOf(layer));
const kindOf = (shapes: readonly Shape[]) => shapes.map((shape) => shape.length).join();
const shown = (shapes: readonly Shape[]) => shapes.map(showShape).join(" ");

function fits({ slots }: Holder, layer: StoredLayer): boolean {
  const shapes = shapesOf(layer);
  return (
    shapes.length === slots.length &&
    slots.every(({ kerasShape }, k) => sameShape(essential(kerasShape), essential(shapes[k])))
  );
}

/** Each holder takes the next layer of a kind: layers with as many weights of as many axes keep their order. */
function inTurn(
  order: readonly Holder[],
  stored: readonly StoredLayer[],
  single: ReadonlySet<Holder>,
): Match {
  const kinds = new Map<string, StoredLayer[]>();
  for (const layer of stored) {
    const kind = storedKind(layer);
    kinds.set(kind, [...(kinds.get(kind) ?? []), layer]);
  }
  const misfits: string[] = [];
  const pairs = order.map((holder) => {
    const { slots, layer } = holder;
    const expected = slots.map(({ kerasShape }) => kerasShape);
    const like = kindOf(single.has(holder) ? expected.map(essential) : expected);
    const next = [kinds.get(like) ?? [], ...kinds.values()];
    const [from] = [next.find(([first]) => first && fits(holder, first)) ?? next[0]];
    const found = from.shift();
    if (!found) misfits.push(`there is none left for ${layer.name} ${shown(expected)}`);
    else if (!fits(holder, found)) {
      misfits.push(`${found.name} has ${shown(shapesOf(found))}, ${layer.name} expects ${shown(expected)}`);
    }
    return [holder, found] as const;
  });
  return { pairs, misfits };
}
