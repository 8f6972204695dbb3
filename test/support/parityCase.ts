import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEngine } from "../../src/engine/create.ts";
import { type NewTensor, writeSafetensors } from "../../src/formats/safetensors.ts";
import { buildModel } from "../../src/models/build.ts";
import { Variables } from "../../src/nn/scope.ts";
import { readCase } from "../../src/parity/case.ts";
import { differentiate, evaluate, train } from "../../src/parity/quantities.ts";
import { sizeOf } from "../../src/tensor/tensor.ts";
import { classes, normal } from "./values.ts";

export const smallCase = {
  architecture: {
    depths: [2],
    widths: [3],
    expansion: 2,
    strides: [1],
    stem: { channels: 4, kernel: 3, stride: 2, pool: false },
    attention: "se",
    reduction: 2,
    placement: "all",
    classes: 3,
  },
  batchNorm: { eps: 1e-5, momentum: 0.1 },
  optimizers: { sgd2: { lr: 0.05, momentum: 0.9 } },
};

type Part = "model" | "batch" | "expect";
export type Tensors = Record<string, NewTensor>;

const floats = (shape: readonly number[], values: ArrayLike<number>): NewTensor => ({
  shape,
  values: Float32Array.from(values),
});

export class CaseFolder {
  readonly path = mkdtempSync(join(tmpdir(), "atento-case-"));
  readonly tensors: Record<Part, Tensors> = { model: {}, batch: {}, expect: {} };
  description: unknown = structuredClone(smallCase);

  /** Writes the files as they are now. */
  write(): string {
    writeFileSync(join(this.path, "case.json"), JSON.stringify(this.description));
    for (const [part, tensors] of Object.entries(this.tensors)) {
      writeFileSync(
        join(this.path, `${part}.safetensors`),
        writeSafetensors(new Map(Object.entries(tensors))),
      );
    }
    return this.path;
  }
}

/** A complete small case whose expectations are the reference engine's own. */
export async function makeCase(): Promise<CaseFolder> {
  const folder = new CaseFolder();
  const { model, batch, expect } = folder.tensors;
  batch["images"] = floats([4, 3, 8, 6], normal([4, 3, 8, 6], "images"));
  batch["labels"] = {
    ...floats([4], []),
    dtype: "I64",
    values: BigInt64Array.from(classes(3)([4], "labels"), BigInt),
  };
  model["fc.bias"] = floats([3], [0, 0, 0]);
  const { model: resnet } = await readCase(folder.write());
  const variables = new Variables(5);
  buildModel(resnet, variables, { batch: 4, image: [8, 6], training: true });
  for (const { name, shape, initialize } of variables.all()) {
    const values = new Float32Array(sizeOf(shape));
    initialize(values);
    model[name] = floats(shape, values);
  }
  const at = await readCase(folder.write());
  const engine = createEngine({ engine: "reference" });
  const logits = (await evaluate(at, engine)).get("logits")!;
  expect["eval.logits"] = floats([4, 3], logits);
  const first = await differentiate(at, engine);
  expect["train.logits"] = floats([4, 3], first.outputs.get("logits")!);
  expect["train.loss"] = floats([1], first.outputs.get("loss")!);
  for (const [name, values] of first.gradients) expect[`grad.${name}`] = floats(model[name].shape, values);
  for (const [name, values] of first.statistics) expect[`after1.${name}`] = floats(model[name].shape, values);
  const { losses, parameters, statistics } = await train(at, engine, at.trainings[0]);
  expect["sgd2.losses"] = floats([2], losses);
  for (const [name, values] of [...parameters, ...statistics]) {
    expect[`sgd2.${name}`] = floats(model[name].shape, values);
  }
  folder.write();
  return folder;
}
