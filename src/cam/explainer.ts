import type { Options } from "../attention/spec.ts";
import type { Executable } from "../engine/engine.ts";
import type { BuiltModel } from "../models/build.ts";
import { UserError } from "../tensor/errors.ts";
import { unlessAborted } from "../train/abort.ts";
import { mapGraph, tailGraph } from "./graphs.ts";
import { findLayer, mapLayers } from "./layers.ts";
import { type Draw, imageOf, OpenNetwork } from "./network.ts";
import { noisy } from "./noise.ts";
import { notesOn } from "./notes.ts";
import type { CamMethod, MapMethod, RescoredLayer, WeighMethod } from "./spec.ts";

/** Which score of an image is explained: the logit of a class, or what it has more than another. */
export interface ClassTarget {
  readonly class: number;
  readonly against?: number;
}

export interface MapsRequest {
  /** Normalised, [N,3,H,W]. */
  readonly images: Float32Array;
  readonly methods: readonly { readonly method: CamMethod; readonly options?: Options }[];
  /** Names; the last stage with more than one pixel when absent. */
  readonly layers?: readonly string[];
  /** One an image; the predicted class when absent. */
  readonly targets?: readonly ClassTarget[];
  readonly signal?: AbortSignal;
  /** Images done, some in part. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Maps of one method at one layer, as computed: with their signs, of the layer's size. */
export interface RawMaps {
  readonly method: CamMethod;
  /** `image` for methods whose map is of the pixels themselves. */
  readonly layer: string;
  readonly height: number;
  readonly width: number;
  /** [N,h,w]. */
  readonly values: Float32Array;
}

export interface Maps {
  readonly count: number;
  /** [N,K]. */
  readonly logits: Float32Array;
  readonly targets: readonly ClassTarget[];
  /** Every method at every layer. */
  readonly maps: readonly RawMaps[];
  /** What people should know of these maps, a line each. */
  readonly notes: readonly string[];
}

/** A trained network open on an engine, to ask it where it looks. */
export class Explainer extends OpenNetwork {
  /**
   * Raw maps of images, in few runs of the engine.
   * @throws UserError for a layer that does not exist, or targets that do not fit the classes.
   */
  async maps({ images, methods, layers, targets, signal, onProgress }: MapsRequest): Promise<Maps> {
    const count = images.length / this.imageSize;
    if (!Number.isInteger(count)) throw new UserError(`images: ${images.length} values are no images`);
    if (targets && targets.length !== count)
      throw new UserError(`${targets.length} targets for ${count} images`);
    for (const target of targets ?? []) this.#expectClass(target);
    const names = layers ?? [this.defaultLayer];
    const plan = this.#plan(methods, names);
    const logits = new Float32Array(count * this.classes);
    const chosen: ClassTarget[] = [];
    const batch = this.#planSize(count, plan, targets ? "given" : "predicted");
    for (let first = 0; first < count; first += batch) {
      const n = Math.min(batch, count - first);
      const part = images.subarray(first * this.imageSize, (first + n) * this.imageSize);
      const own = targets?.slice(first, first + n);
      const tell = (share: number) => onProgress?.(first + n * share, count);
      const result = await this.#batch(part, n, plan, own, tell, signal);
      logits.set(result.logits, first * this.classes);
      chosen.push(...result.targets);
    }
    const maps = plan.map(({ method, layer, height, width, values }) => {
      const whole = new Float32Array(count * height * width);
      values.forEach((value, k) => {
        whole.set(value, k * height * width);
      });
      return { method, layer, height, width, values: whole };
    });
    return {
      count,
      logits,
      targets: chosen,
      maps,
      notes: [
        ...notesOn(maps, count, this.image, mapLayers(this.model(1)), layers ? undefined : this.defaultLayer),
        ...this.#turnedAround(methods, logits, chosen),
      ],
    };
  }

  /** A note on methods that divide by a score that is below 0. */
  #turnedAround(
    methods: MapsRequest["methods"],
    logits: Float32Array,
    targets: readonly ClassTarget[],
  ): string[] {
    const below = targets.filter(({ class: own, against }, k) => {
      const logit = (index: number) => logits[k * this.classes + index];
      return logit(own) - (against === undefined ? 0 : logit(against)) < 0;
    }).length;
    if (below === 0) return [];
    const which = targets.length === 1 ? "the score is" : `${below} of ${targets.length} scores are`;
    return methods
      .filter(({ method }) => isWeigh(method) && method.dividesByScore)
      .map(
        ({ method }) =>
          `${method.name}: ${which} below 0, and its weights are divided by them: what it marks speaks against the class there`,
      );
  }

  #expectClass({ class: own, against }: ClassTarget): void {
    for (const index of against === undefined ? [own] : [own, against]) {
      if (Number.isInteger(index) && index >= 0 && index < this.classes) continue;
      throw new UserError(`class ${index}: the model has classes 0 to ${this.classes - 1}`);
    }
    if (against === own) throw new UserError(`class ${own} is held against itself: name another`);
  }

  #plan(methods: MapsRequest["methods"], names: readonly string[]): Member[] {
    const layers = mapLayers(this.model(1));
    return methods.flatMap(({ method, options = {} }) => {
      const places =
        !isWeigh(method) && method.atImages
          ? [{ layer: "image", shape: [1, 3, ...this.image] }]
          : names.map((layer) => ({ layer, shape: findLayer(layers, layer).shape }));
      return places.map(({ layer, shape }) => ({
        method,
        options: { ...method.options, ...options },
        layer,
        channels: shape[1],
        height: shape[2],
        width: shape[3],
        values: [],
      }));
    });
  }

  /** Maps of one batch, added to the plan's values. */
  async #batch(
    images: Float32Array,
    n: number,
    plan: readonly Member[],
    given: readonly ClassTarget[] | undefined,
    tell: (share: number) => void,
    signal?: AbortSignal,
  ): Promise<{ logits: Float32Array; targets: readonly ClassTarget[] }> {
    let [logits, targets]: [Float32Array | undefined, typeof given] = [undefined, given];
    const decide = async () => {
      logits ??= await this.logits(n, (k, into) => into.set(imageOf(images, k, this.imageSize)), signal);
      targets ??= predictedTargets(logits, n).targets;
      return { logits, targets };
    };
    for (const [m, member] of plan.entries()) {
      const { method, values } = member;
      tell(m / plan.length);
      if (isWeigh(method)) {
        const known = await decide();
        for (let k = 0; k < n; k++) {
          const image = imageOf(images, k, this.imageSize);
          const own = { image, logits: imageOf(known.logits, k, this.classes), target: known.targets[k] };
          values.push(await this.#weighted(method, member, own, signal));
          tell((m + (k + 1) / n) / plan.length);
        }
        continue;
      }
      const copies = method.copies?.(member.options);
      if (copies) {
        const known = await decide(); // the class is that of the image itself, not of a noisy copy
        const sum = new Float32Array(n * member.channels * member.height * member.width);
        for (let copy = 0; copy < copies.count; copy++) {
          const fed = noisy(images, n, copies.noise, copy);
          const { map } = await this.#run(member, method, fed, n, known.targets, signal);
          for (let i = 0; i < sum.length; i++) sum[i] += map[i] / copies.count;
        }
        values.push(...reduced(method, member, sum, n));
        continue;
      }
      let result = await this.#run(member, method, images, n, targets, signal);
      logits ??= result.logits;
      if (!targets) {
        const found = predictedTargets(result.logits, n);
        targets = found.targets;
        // several classes were explained at once where their logits are equal
        if (found.tied) result = await this.#run(member, method, images, n, targets, signal);
      }
      values.push(...reduced(method, member, result.map, n));
    }
    tell(1);
    return decide();
  }

  /** Images a run, so many that none of the plan's programs needs too much memory. */
  #planSize(count: number, plan: readonly Member[], explained: "predicted" | "given"): number {
    return plan.reduce((most, member) => {
      const { method } = member;
      if (isWeigh(method)) return most;
      return this.batchSize(most, (n) => this.#mapProgram(member, method, n, explained));
    }, this.batchSize(count));
  }

  #mapProgram(
    { layer, options }: Member,
    method: MapMethod,
    n: number,
    explained: "predicted" | "given",
  ): Executable {
    const key = JSON.stringify([explained, method.name, layer, options]);
    return this.program(key, n, (built) => {
      const at = layer === "image" ? built.images : findLayer(built.nn.layers, layer);
      return mapGraph(built, { method, options, layer: at }, explained);
    });
  }

  /**
   * One graph a method: what it returns, and the logits.
   * @param targets the predicted classes when absent, in the same run.
   */
  async #run(
    member: Member,
    method: MapMethod,
    images: Float32Array,
    n: number,
    targets: readonly ClassTarget[] | undefined,
    signal?: AbortSignal,
  ): Promise<{ readonly map: Float32Array; readonly logits: Float32Array }> {
    const program = this.#mapProgram(member, method, n, targets ? "given" : "predicted");
    const feeds: Record<string, Float32Array> = { images };
    if (program.inputs.has("target")) feeds["target"] = this.#seeds(targets!);
    const { map, logits } = await unlessAborted(program.run(feeds), signal);
    return { map, logits };
  }

  #seeds(targets: readonly ClassTarget[]): Float32Array {
    const seeds = new Float32Array(targets.length * this.classes);
    targets.forEach(({ class: own, against }, k) => {
      seeds[k * this.classes + own] += 1;
      if (against !== undefined) seeds[k * this.classes + against] -= 1;
    });
    return seeds;
  }

  async #weighted(
    method: WeighMethod,
    { layer, options, channels, height, width }: Member,
    { image, logits, target }: { image: Float32Array; logits: Float32Array; target: ClassTarget },
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    const program = this.program(`layer ${layer}`, 1, ({ nn }) => ({
      outputs: { activations: nn.layers.get(layer)! },
      effects: [],
    }));
    const { activations } = await unlessAborted(program.run({ images: image }), signal);
    const score = (all: Float32Array, k: number) => scoreOf(all, k * this.classes, target);
    const at: RescoredLayer = {
      ...{ activations, channels, height, width, image: this.image, score: score(logits, 0) },
      rescoreImages: async (count, change) => {
        const changed: Draw = (k, into) => {
          into.set(image);
          change(k, into);
        };
        const all = await this.logits(count, changed, signal);
        return Float32Array.from({ length: count }, (_, k) => score(all, k));
      },
      rescore: async (count, change) => {
        const changed: Draw = (k, into) => {
          into.set(activations);
          change(k, into);
        };
        const build = (built: BuiltModel) => tailGraph(built, findLayer(built.nn.layers, layer));
        const all = await this.many(`tail ${layer}`, build, "activations", count, changed, signal, image);
        return Float32Array.from({ length: count }, (_, k) => score(all, k));
      },
    };
    const weights = await method.weigh(at, options);
    const map = new Float32Array(height * width);
    activations.forEach((value, i) => {
      map[i % map.length] += weights[Math.floor(i / map.length)] * value;
    });
    return map;
  }
}

/** A method at a layer, and its maps so far, one an image. */
interface Member {
  readonly method: CamMethod;
  readonly options: Options;
  readonly layer: string;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly values: Float32Array[];
}

const isWeigh = (method: CamMethod): method is WeighMethod => "weigh" in method;

/** What a graph returned, image by image, brought to one channel. */
function reduced(
  method: MapMethod,
  { channels, height, width }: Member,
  values: Float32Array,
  n: number,
): Float32Array[] {
  const size = values.length / n;
  return Array.from({ length: n }, (_, k) => {
    const own = values.slice(k * size, (k + 1) * size);
    return method.reduce ? method.reduce({ values: own, channels, pixels: height * width }) : own;
  });
}

/** The largest logit of each image, the first of equals; `tied` when there were equals. */
function predictedTargets(logits: Float32Array, n: number) {
  const classes = logits.length / n;
  let tied = false;
  const targets = Array.from({ length: n }, (_, k): ClassTarget => {
    const row = logits.subarray(k * classes, (k + 1) * classes);
    const top = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const first = Math.max(0, row.indexOf(top));
    tied ||= row.indexOf(top, first + 1) >= 0;
    return { class: first };
  });
  return { targets, tied };
}

/** The logit of the class, less that of the class it is held against. */
const scoreOf = (logits: Float32Array, at: number, { class: own, against }: ClassTarget) =>
  logits[at + own] - (against === undefined ? 0 : logits[at + against]);
