import { basename, extname } from "node:path";
import type { Normalization } from "../data/dataset.ts";
import { floatsOf } from "../formats/safetensors.ts";
import { SafetensorsFile } from "../formats/sealed.ts";
import { buildModel } from "../models/build.ts";
import type { ResNet } from "../models/resnet.ts";
import { Variables } from "../nn/scope.ts";
import { UserError } from "../tensor/errors.ts";
import type { Trained } from "../train/trained.ts";
import { expectFitting, isCounter } from "../train/weights.ts";
import type { Format, Given } from "./format.ts";
import { formatOf } from "./formats.ts";
import { sha256Of } from "./pretrained.ts";
import { resnetOf, type Untold } from "./state-dict.ts";

/** What ImageNet's ResNets expect: mean and deviation of its images. */
const IMAGENET: Normalization = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** By default a state dict is of 224×224 images normalised as ImageNet's, with classes `class 0`, `class 1` … */
export interface ImportOptions extends Untold, Given {
  /** The model whose weights a file holds that says nothing of its architecture. */
  readonly into?: Trained;
}

export interface Imported {
  readonly trained: Trained;
  /** What its tensors told, in words. */
  readonly architecture?: string;
  /** Names of the file's tensors that the model has. */
  readonly taken: readonly string[];
  /** Those it has no use for: PyTorch's counters of batches. */
  readonly left: readonly string[];
}

/**
 * Takes a model that was trained elsewhere: a state dict of torchvision's or timm's ResNets as .safetensors, or a model
 * file of another format.
 * @throws UserError when it is no ResNet of ours, or listing the tensors that do not fit.
 */
export async function importModel(path: string, options: ImportOptions = {}): Promise<Imported> {
  const format = formatOf(path);
  const origin = { file: basename(path), sha256: await sha256Of(path) };
  if (options.into) {
    if (!format.readWeights)
      throw new UserError(`${path}: ${format.name} files say what model they hold: leave --into away`);
    const trained = renamed(await format.readWeights(path, options.into), path, options);
    return { trained: { ...trained, origin }, taken: [...trained.weights.keys()], left: [] };
  }
  if (format.name !== "safetensors" || (await isOurs(path))) {
    expectSilent(format, path, options);
    const trained = renamed(await format.read(path, options), path, options);
    return {
      trained: { ...trained, origin: trained.origin ?? origin },
      taken: [...trained.weights.keys()],
      left: [],
    };
  }
  return SafetensorsFile.with(path, async (file) => {
    const { entries } = file.header;
    const model = resnetOf(entries, path, options);
    const { image = [224, 224], normalization = IMAGENET } = options;
    const variables = new Variables(0);
    buildModel(model, variables, { batch: 1, image, training: false });
    expectFitting(variables.all(), entries, path);
    const weights = new Map<string, Float32Array>();
    for (const { name } of variables.all()) weights.set(name, floatsOf(await file.read(name)));
    const classes = Array.from({ length: model.classes }, (_, k) => `class ${k}`);
    const variant = basename(path, extname(path));
    const trained = { model, classes, image, normalization, origin, variant, weights };
    return {
      trained: renamed(trained, path, options),
      architecture: describe(model),
      taken: [...weights.keys()],
      left: [...entries.keys()].filter(isCounter),
    };
  });
}

function describe({ block, depths, widths, attention }: ResNet): string {
  const { name, options } = attention;
  const gate = name === "none" ? "no attention" : `attention ${name} ${JSON.stringify(options)}`;
  return `${block} blocks ${depths.join(", ")} of widths ${widths.join(", ")}, ${gate}`;
}

const isOurs = (path: string) =>
  SafetensorsFile.with(path, async ({ header }) => header.metadata["architecture"] !== undefined);

function renamed(trained: Trained, path: string, { classes }: ImportOptions): Trained {
  if (!classes) return trained;
  if (classes.length !== trained.classes.length) {
    throw new UserError(`${path}: has ${trained.classes.length} classes, ${classes.length} names were given`);
  }
  const assumed = trained.assumed?.filter((what) => what !== "classes");
  return { ...trained, classes, ...(assumed && { assumed: assumed.length > 0 ? assumed : undefined }) };
}

/** @throws UserError where a file says itself what is given. */
function expectSilent({ name, silent }: Format, path: string, given: ImportOptions): void {
  const architecture = ["stem", "strides"] as const;
  const all = silent ? architecture : (["image", "normalization", ...architecture] as const);
  const said = all.filter((key) => given[key] !== undefined);
  if (said.length === 0) return;
  throw new UserError(
    `${path}: this ${name} file says what model it holds: ${said.join(", ")} cannot be given`,
  );
}
