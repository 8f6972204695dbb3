import { attentions } from "../attention/registry.ts";
import type { AttentionSpec, Options } from "../attention/spec.ts";
import { stems } from "../models/options.ts";
import type { ResNet } from "../models/resnet.ts";
import { torchBatchNorm } from "../nn/layers.ts";
import { Scope, Variables } from "../nn/scope.ts";
import { UserError } from "../tensor/errors.ts";
import { input, type Shape, sameShape, showShape } from "../tensor/tensor.ts";
import type { Entry } from "../train/weights.ts";

/** Tensors of a PyTorch state dict by name. */
export type StateDict = ReadonlyMap<string, Entry>;

/** What the tensors do not tell. */
export interface Untold {
  /** Stride of the first convolution, and whether a pool follows; those of the named stem of its kernel by default. */
  readonly stem?: string;
  /** Of each stage's first block; 1, 2, 2, 2 by default. */
  readonly strides?: readonly number[];
}

/**
 * The ResNet whose state dict this is, in torchvision's and timm's names: block, depths, widths, stem's kernel,
 * attention and classes as its shapes tell.
 * @param where the file, for errors. @throws UserError naming the tensor that no ResNet of ours has.
 */
export function resnetOf(dict: StateDict, where: string, { stem, strides }: Untold = {}): ResNet {
  const at = new Tensors(dict, where);
  at.refuseOthers();
  const [channels, , kernel] = at.shape("conv1.weight", 4);
  const depths = at.depths();
  const bottleneck = dict.has("layer1.0.conv3.weight");
  const widths = depths.map((_, stage) => at.shape(`layer${stage + 1}.0.conv1.weight`, 4)[0]);
  const expansion = bottleneck ? at.shape("layer1.0.conv3.weight", 4)[0] / widths[0] : 1;
  if (!Number.isInteger(expansion))
    throw at.refuse("layer1.0.conv3.weight", "widens its block by no whole number");
  const named = stemOf(kernel, stem, where);
  const { strides: defaults, ...rest } = { ...named, channels, kernel };
  return {
    block: bottleneck ? "bottleneck" : "basic",
    stem: rest,
    depths,
    widths,
    strides: depths.map((_, stage) => strides?.[stage] ?? defaults[stage] ?? 2),
    expansion,
    ...attentionOf(at, depths, bottleneck ? "conv3.weight" : "conv2.weight"),
    batchNorm: torchBatchNorm,
    initialization: "torch",
    classes: at.shape("fc.weight", 2)[0],
  };
}

function stemOf(kernel: number, asked: string | undefined, where: string) {
  const name = asked ?? (kernel === 7 ? "imagenet" : "cifar");
  const stem = Object.hasOwn(stems, name) ? stems[name] : undefined;
  if (!stem) throw new UserError(`--stem ${name}: there are ${Object.keys(stems).join(", ")}`);
  if (stem.kernel !== kernel) {
    const fitting = Object.keys(stems).filter((key) => stems[key].kernel === kernel);
    const words = fitting.length > 0 ? `the stems ${fitting.join(" and ")} have` : "no stem of ours has";
    throw new UserError(`${where}: conv1 has a ${kernel}×${kernel} kernel, which ${words}, not ${name}`);
  }
  return stem;
}

/** What other ResNets have and ours have not, by a tensor that shows it. */
const OTHERS: readonly [RegExp, number, string][] = [
  [/^conv1\.0\.weight$/, 4, "a stem of several convolutions (ResNet-C, -D)"],
  [/\.downsample\.1\.weight$/, 4, "a pooled shortcut (ResNet-D)"],
  [/\.bn\d\.(aa|attn)\./, 4, "attention inside the block"],
];

const MOST_BLOCKS = 1000;

class Tensors {
  readonly #dict: StateDict;
  readonly #where: string;

  constructor(dict: StateDict, where: string) {
    this.#dict = dict;
    this.#where = where;
  }

  refuse(name: string, problem: string): UserError {
    return new UserError(
      `${this.#where}: is no ResNet of ours: ${name} ${problem}; torchvision's and timm's ResNets with plain, SE, CBAM or ECA blocks are`,
    );
  }

  refuseOthers(): void {
    for (const [name, { shape }] of this.#dict) {
      const other = OTHERS.find(([pattern, rank]) => pattern.test(name) && shape.length === rank);
      if (other) throw this.refuse(name, `shows ${other[2]}`);
    }
    const conv2 = this.#dict.get("layer1.0.conv2.weight")?.shape;
    const conv1 = this.#dict.get("layer1.0.conv1.weight")?.shape;
    if (conv1 && conv2 && conv2[1] !== conv1[0]) {
      throw this.refuse(
        "layer1.0.conv2.weight",
        `${showShape(conv2)} shows a convolution in groups (ResNeXt)`,
      );
    }
  }

  shape(name: string, rank: number): Shape {
    const entry = this.#dict.get(name);
    if (!entry) throw this.refuse(name, "is missing");
    if (entry.shape.length !== rank || entry.shape.includes(0)) {
      throw this.refuse(name, `has shape ${showShape(entry.shape)}, ${rank} dimensions are expected`);
    }
    return entry.shape;
  }

  /** Blocks of each stage, as far as they follow one another. */
  depths(): number[] {
    const depths: number[] = [];
    for (let stage = 1; this.#dict.has(`layer${stage}.0.conv1.weight`); stage++) {
      let depth = 1;
      while (this.#dict.has(`layer${stage}.${depth}.conv1.weight`)) depth++;
      if (depth > MOST_BLOCKS) throw this.refuse(`layer${stage}`, `has ${depth} blocks`);
      depths.push(depth);
    }
    if (depths.length === 0) throw this.refuse("layer1.0.conv1.weight", "is missing");
    return depths;
  }

  /** Shapes of what lies in a block's attention, by the names inside; PyTorch's counters aside. */
  gate(block: string): ReadonlyMap<string, Shape> {
    const prefix = `${block}.se.`;
    const inside = [...this.#dict].filter(
      ([name]) => name.startsWith(prefix) && !name.endsWith(".num_batches_tracked"),
    );
    return new Map(inside.map(([name, { shape }]) => [name.slice(prefix.length), shape]));
  }

  has(name: string): boolean {
    return this.#dict.has(name);
  }
}

/** The module and options of the registry that have exactly the tensors that are there, in every block that has some. */
function attentionOf(
  at: Tensors,
  depths: readonly number[],
  last: string,
): Pick<ResNet, "attention" | "placement"> {
  const blocks = depths.flatMap((depth, stage) =>
    Array.from({ length: depth }, (_, k) => `layer${stage + 1}.${k}`),
  );
  const gates = blocks.map((block) => ({
    block,
    inside: at.gate(block),
    channels: at.shape(`${block}.${last}`, 4)[0],
    identity: !at.has(`${block}.downsample.0.weight`),
  }));
  const own = gates.filter(({ inside }) => inside.size > 0);
  if (own.length === 0) return { attention: { name: "none", options: {} }, placement: "all" };
  const placement = own.length === gates.length ? "all" : "identity";
  const without = gates.find(
    ({ inside, identity }) => inside.size === 0 && (placement === "all" || identity),
  );
  if (without) throw at.refuse(`${without.block}.se`, "is missing, other blocks have attention");
  for (const spec of attentions.values()) {
    for (const options of candidates(spec)) {
      if (own.every(({ channels, inside }) => sameTensors(gateOf(spec, options, channels), inside))) {
        return { attention: { name: spec.name, options }, placement };
      }
    }
  }
  const [{ block, inside }] = own;
  const found = [...inside].slice(0, 6).map(([name, shape]) => `${name} ${showShape(shape)}`);
  throw at.refuse(`${block}.se`, `holds an attention that is not known here (${found.join(", ")})`);
}

/** 1 to 64, powers of two first: several reductions may round to the widths that are there. */
const NUMBERS = Array.from({ length: 64 }, (_, k) => k + 1).sort(
  (a, b) => Number(!Number.isInteger(Math.log2(a))) - Number(!Number.isInteger(Math.log2(b))) || a - b,
);

/** Every combination of a module's options, its defaults first. */
function candidates({ options, choices = {} }: AttentionSpec): Options[] {
  let all: Options[] = [{}];
  for (const [name, preset] of Object.entries(options)) {
    const others =
      typeof preset === "boolean" ? [!preset] : typeof preset === "number" ? NUMBERS : (choices[name] ?? []);
    const values = [preset, ...others.filter((value) => value !== preset)];
    all = values.flatMap((value) => all.map((known) => ({ ...known, [name]: value })));
  }
  return all;
}

/** Tensors of a module for so many channels. */
function gateOf(spec: AttentionSpec, options: Options, channels: number): ReadonlyMap<string, Shape> {
  const variables = new Variables(0);
  const nn = Scope.root(variables, { training: false, batchNorm: torchBatchNorm });
  spec.build(input("x", [1, channels, 2, 2]), nn, options);
  return new Map(variables.all().map(({ name, shape }) => [name, shape]));
}

const sameTensors = (a: ReadonlyMap<string, Shape>, b: ReadonlyMap<string, Shape>) =>
  a.size === b.size && [...a].every(([name, shape]) => sameShape(shape, b.get(name) ?? []));
