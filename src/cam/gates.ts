import type { Shape } from "../tensor/tensor.ts";
import type { Explainer } from "./explainer.ts";

/** What an attention module multiplies by: each channel [N,C], or each pixel [N,h,w]. */
export interface Gate {
  /** Such as `layer1.0.se.gate`. */
  readonly layer: string;
  /** The outermost layer it is in, such as `layer1`. */
  readonly stage: string;
  readonly kind: "channel" | "spatial";
  /** Of one image: [C] or [h,w]. */
  readonly shape: Shape;
  /** Of all images, one after the other. */
  readonly values: Float32Array;
}

/** The attention itself: the gates of every module of the network, for each image. images [N,3,H,W], normalised. */
export async function gatesOf(
  explainer: Explainer,
  images: Float32Array,
  signal?: AbortSignal,
): Promise<Gate[]> {
  const names = [...explainer.layers.keys()].filter((name) => /(^|\.)gate$/.test(name));
  if (names.length === 0) return [];
  const outputs = await explainer.outputs(images, names, signal);
  return [...outputs].map(([layer, { shape, values }]) => {
    const [, channels, height, width] = shape;
    const spatial = /(^|\.)spatial\.gate$/.test(layer);
    return {
      ...{ layer, stage: layer.split(".")[0], values },
      kind: spatial ? ("spatial" as const) : ("channel" as const),
      shape: spatial ? [height, width] : [channels],
    };
  });
}

/** Means by class: [classes, …shape]; 0 for a class that has no image here. */
export function meanByClass({ values }: Gate, labels: readonly number[], classes: number): Float32Array {
  const size = values.length / labels.length;
  const means = new Float32Array(classes * size);
  const counts = new Array<number>(classes).fill(0);
  for (const label of labels) counts[label]++;
  labels.forEach((label, k) => {
    for (let i = 0; i < size; i++) means[label * size + i] += values[k * size + i] / counts[label];
  });
  return means;
}

export interface GateSummary {
  readonly stage: string;
  readonly kind: Gate["kind"];
  readonly modules: number;
  readonly mean: number;
  /** Over a module's channels or pixels, of the values averaged over the images: how much modules choose. */
  readonly deviation: number;
  readonly lowest: number;
  readonly highest: number;
}

const meanOf = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** The gates of the k-th of `count` images alone. */
export function gatesOfImage(gates: readonly Gate[], k: number, count: number): Gate[] {
  return gates.map((gate) => {
    const size = gate.values.length / count;
    return { ...gate, values: gate.values.slice(k * size, (k + 1) * size) };
  });
}

/** Gates stage by stage, averaged over the images. */
export function summarizeGates(gates: readonly Gate[]): GateSummary[] {
  const groups = new Map<string, Gate[]>();
  for (const gate of gates) {
    const key = `${gate.stage} ${gate.kind}`;
    groups.set(key, [...(groups.get(key) ?? []), gate]);
  }
  return [...groups.values()].map((members) => {
    const modules = members.map((gate) => {
      const size = gate.shape.reduce((a, b) => a * b, 1);
      const images = gate.values.length / size;
      return [...meanByClass(gate, new Array<number>(images).fill(0), 1)];
    });
    const values = modules.flat();
    const mean = meanOf(values);
    const variance = meanOf(
      modules.flatMap((own) => {
        const centre = meanOf(own);
        return own.map((value) => (value - centre) ** 2);
      }),
    );
    return {
      ...{ stage: members[0].stage, kind: members[0].kind, modules: members.length, mean },
      deviation: Math.sqrt(variance),
      lowest: values.reduce((a, b) => Math.min(a, b)),
      highest: values.reduce((a, b) => Math.max(a, b)),
    };
  });
}
