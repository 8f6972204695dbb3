import type { Engine } from "../engine/engine.ts";
import type { Trained } from "../train/trained.ts";
import { Explainer } from "./explainer.ts";
import { dropAndIncrease, type Explained, insertionDeletion, type Score } from "./faithfulness.ts";
import { localisation, spearman } from "./localisation.ts";
import { clipped, finished } from "./map.ts";
import type { MethodScores } from "./record.ts";
import { road } from "./road.ts";
import type { CamMethod } from "./spec.ts";

/** Of the weights that replace the trained ones: none of a run's own, so that none has seen the data. */
const RANDOM_WEIGHTS = 2 ** 31 - 1;

export interface JudgeRequest {
  readonly trained: Pick<Trained, "model" | "image" | "weights" | "classes">;
  readonly explainer: Explainer;
  readonly engine: Engine;
  /** Normalised, [N,3,H,W]. */
  readonly images: Float32Array;
  /** [N,H,W]. */
  readonly masks?: Uint8Array;
  readonly methods: readonly CamMethod[];
  readonly layer: string;
  readonly signal?: AbortSignal;
  /** Of all that is to be done. */
  readonly onProgress?: (fraction: number) => void;
}

export interface Judged {
  readonly predicted: readonly number[];
  /** Of the predicted class. */
  readonly probability: readonly number[];
  readonly methods: readonly {
    readonly method: CamMethod;
    readonly scores: MethodScores;
    readonly height: number;
    readonly width: number;
    /** [N,h,w], clipped at 0 and divided by the maximum. */
    readonly maps: Float32Array;
  }[];
}

/** What the maps of the predicted classes are worth. @throws the signal's reason when it is aborted. */
export async function judge(request: JudgeRequest): Promise<Judged> {
  const { explainer, images, methods, layer, signal, onProgress } = request;
  const [H, W] = explainer.image;
  const asked = { images, methods: methods.map((method) => ({ method })), layers: [layer], signal };
  const { maps, logits, targets, count } = await explainer.maps(asked);
  const random = await withRandomWeights(request, (other) => other.maps({ ...asked, targets }));
  const predicted = targets.map((target) => target.class);
  const K = explainer.classes;
  const probability = predicted.map((own, k) => softmax(logits.subarray(k * K, (k + 1) * K), own));
  const score: Score = async (number, draw, classOf) => {
    const all = await explainer.logits(number, draw, signal);
    return Float32Array.from({ length: number }, (_, k) =>
      softmax(all.subarray(k * K, (k + 1) * K), classOf(k)),
    );
  };
  const judged: Judged["methods"][number][] = [];
  for (const [m, { method, height, width, values }] of maps.entries()) {
    const each = (all: Float32Array, bring: (own: Float32Array) => Float32Array) => {
      const size = height * width;
      return Array.from({ length: count }, (_, k) => bring(all.slice(k * size, (k + 1) * size)));
    };
    const own = each(values, clipped);
    const large = own.map((map) => finished(map, height, width, H, W));
    const explained: Explained = {
      ...{ images, maps: joined(large), classes: predicted, height: H, width: W },
    };
    const found = await scoresOf(explained, score, request.masks);
    // with their signs: clipped, a map that is nowhere above 0 would pass as unlike any other
    const others = each(random.maps[m].values, (map) => map);
    const sanity = each(values, (map) => map).map((map, k) => spearman(map, others[k]));
    judged.push({ method, scores: { ...found, sanity }, height, width, maps: joined(own) });
    onProgress?.((m + 1) / maps.length);
  }
  return { predicted, probability, methods: judged };
}

/** All scores of finished maps but the sanity check, which needs other weights. @param masks [N,H,W]. */
export async function scoresOf(
  explained: Explained,
  score: Score,
  masks?: Uint8Array,
): Promise<Omit<MethodScores, "sanity">> {
  const { maps, classes, height, width } = explained;
  const area = height * width;
  const places = masks
    ? classes.map((_, k) => {
        const of = <T extends Float32Array | Uint8Array>(all: T) =>
          all.subarray(k * area, (k + 1) * area) as T;
        return localisation(of(maps), of(masks));
      })
    : undefined;
  return {
    ...(await insertionDeletion(explained, score)),
    road: await road(explained, score),
    ...(await dropAndIncrease(explained, score)),
    ...(places && {
      pointing: places.map(({ pointing }) => pointing),
      energy: places.map(({ energy }) => energy),
      iou: places.map(({ iou }) => iou),
    }),
  };
}

async function withRandomWeights<T>(
  { trained, engine }: JudgeRequest,
  use: (explainer: Explainer) => Promise<T>,
): Promise<T> {
  const explainer = new Explainer(trained, engine, RANDOM_WEIGHTS);
  try {
    return await use(explainer);
  } finally {
    explainer.close();
  }
}

export function softmax(logits: Float32Array, own: number): number {
  const top = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0);
  return Math.exp(logits[own] - top) / total;
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
