import type { Options } from "../attention/spec.ts";
import { createEngine } from "../engine/create.ts";
import type { Engine } from "../engine/engine.ts";
import { unknownName } from "../models/options.ts";
import { UserError } from "../tensor/errors.ts";
import type { Trained } from "../train/trained.ts";
import { type ClassTarget, Explainer } from "./explainer.ts";
import { type InputImage, readPhotograph } from "./images.ts";
import { scoresOf, softmax } from "./judge.ts";
import { finished } from "./map.ts";
import { methods } from "./methods/registry.ts";
import type { MethodScores } from "./record.ts";
import { normalized } from "./sample.ts";
import type { CamMethod } from "./spec.ts";

export interface ExplainOptions {
  /** `grad-cam` by default. */
  readonly method?: string;
  /** Options of the method, such as { samples: 50 } of smooth-grad. */
  readonly options?: Options;
  /** One layer, or several whose finished maps are averaged; the last stage with more than one pixel by default. */
  readonly layer?: string | readonly string[];
  /** A class by name or number; the predicted one by default. */
  readonly target?: string | number;
  /** A class that the target is held against. */
  readonly against?: string | number;
  readonly engine?: Engine;
}

export interface Explanation {
  /** [H,W] of the network's image size, from 0 to 1. */
  readonly map: Float32Array;
  readonly height: number;
  readonly width: number;
  /** One a layer: as computed, with its signs, at the layer's own size [h,w]. */
  readonly raw: readonly {
    readonly layer: string;
    readonly height: number;
    readonly width: number;
    readonly values: Float32Array;
  }[];
  readonly prediction: {
    readonly class: number;
    readonly name: string;
    readonly probability: number;
    /** Of every class. */
    readonly probabilities: readonly number[];
  };
  /** The class explained. */
  readonly target: { readonly class: number; readonly name: string };
  /** How faithful the map is to the network, all but `sanity`; where it lies against the mask, if the image has one. */
  readonly scores: { readonly [S in Exclude<keyof MethodScores, "sanity">]?: number };
  /** What should be known of the map, a line each: that it is 0 throughout, or of one pixel. */
  readonly notes: readonly string[];
}

/**
 * Where a trained network looks in an image, and how faithful that map is.
 *
 * @param model from `loadTrained`. @param image a path, or bytes [H,W,3] of the network's size.
 * @throws UserError for an image, a method, a layer or a class that does not exist.
 */
export async function explain(
  model: Trained,
  image: string | Pick<InputImage, "bytes" | "mask">,
  options: ExplainOptions = {},
): Promise<Explanation> {
  const { method: name = "grad-cam", layer, engine = createEngine() } = options;
  const method = findMethod(name);
  const [H, W] = model.image;
  const given = typeof image === "string" ? await readPhotograph(image, model.image) : image;
  if (given.bytes.length !== 3 * H * W) {
    throw new UserError(`the image has ${given.bytes.length} bytes, the network takes ${H}×${W}×3`);
  }
  if (given.mask && given.mask.length !== H * W) {
    throw new UserError(`the mask has ${given.mask.length} values, the network takes ${H}×${W}`);
  }
  if (Array.isArray(layer) && layer.length === 0) throw new UserError("layer: none is named");
  const images = normalized(given.bytes, H * W, model.normalization);
  const explainer = new Explainer(model, engine);
  try {
    const target = targetOf(options, model.classes);
    const against = classOf(options.against, model.classes);
    const predicted = target ?? predictedAgainst((await predictedClass(explainer, images)).class, against);
    const computed = await explainer.maps({
      images,
      methods: [{ method, options: options.options }],
      layers: layer === undefined ? undefined : [layer].flat(),
      targets: [predicted],
    });
    const map = mean(computed.maps.map(({ values, height, width }) => finished(values, height, width, H, W)));
    const probabilities = Array.from({ length: explainer.classes }, (_, k) => softmax(computed.logits, k));
    const best = probabilities.indexOf(Math.max(...probabilities));
    const explained = { images, maps: map, classes: [predicted.class], height: H, width: W };
    const scores = await scoresOf(
      explained,
      async (count, draw, of) => {
        const logits = await explainer.logits(count, draw);
        const K = explainer.classes;
        return Float32Array.from({ length: count }, (_, k) =>
          softmax(logits.subarray(k * K, (k + 1) * K), of(k)),
        );
      },
      given.mask,
    );
    return {
      ...{ map, height: H, width: W, notes: computed.notes },
      raw: computed.maps.map(({ layer: at, height, width, values }) => ({
        layer: at,
        height,
        width,
        values,
      })),
      prediction: { class: best, name: model.classes[best], probability: probabilities[best], probabilities },
      target: { class: predicted.class, name: model.classes[predicted.class] },
      scores: Object.fromEntries(Object.entries(scores).map(([score, values]) => [score, values[0]])),
    };
  } finally {
    explainer.close();
  }
}

/** @throws UserError with the nearest name and all there are. */
export function findMethod(name: string): CamMethod {
  const method = methods.get(name);
  if (method) return method;
  throw unknownName("method", name, [...methods.keys()]);
}

/** What was asked to be explained; undefined for the predicted class. */
export function targetOf(
  { target, against }: Pick<ExplainOptions, "target" | "against">,
  classes: readonly string[],
): ClassTarget | undefined {
  const own = classOf(target, classes);
  return own === undefined ? undefined : { class: own, against: classOf(against, classes) };
}

/** The number of a class given by name or number. @throws UserError with the nearest name. */
export function classOf(given: string | number | undefined, classes: readonly string[]): number | undefined {
  if (given === undefined) return undefined;
  if (typeof given === "number" && Number.isInteger(given) && given >= 0 && given < classes.length) {
    return given;
  }
  const byName = classes.indexOf(String(given));
  if (byName >= 0) return byName;
  const index = Number(given);
  if (String(given).trim() !== "" && Number.isInteger(index) && index >= 0 && index < classes.length)
    return index;
  throw unknownName("class", String(given), classes);
}

/** The predicted class, held against another unless it is that one itself. */
export const predictedAgainst = (predicted: number, against: number | undefined): ClassTarget =>
  against === undefined || against === predicted ? { class: predicted } : { class: predicted, against };

async function predictedClass(explainer: Explainer, image: Float32Array): Promise<ClassTarget> {
  const logits = await explainer.logits(1, (_, into) => into.set(image));
  return { class: Math.max(0, logits.indexOf(logits.reduce((a, b) => Math.max(a, b)))) };
}

/** The mean of finished maps, stretched to 0 … 1 again where there are several. */
export function mean(maps: readonly Float32Array[]): Float32Array {
  if (maps.length === 1) return maps[0];
  const sum = maps[0].map((_, i) => maps.reduce((total, map) => total + map[i], 0));
  const top = sum.reduce((a, b) => Math.max(a, b), 0);
  return top > 0 ? sum.map((value) => value / top) : sum;
}
