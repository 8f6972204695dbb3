import type { Dataset, Normalization, Split } from "../data/dataset.ts";
import { divide } from "../data/division.ts";
import { Loader } from "../data/loader.ts";
import { measureNormalization } from "../data/normalization.ts";
import { UserError } from "../tensor/errors.ts";
import type { RunData } from "./types.ts";

/** Images of a split that serve one purpose. */
export interface Part {
  readonly split: Split;
  /** Which of them; all when absent. */
  readonly indices?: Uint32Array;
  readonly count: number;
}

export interface Parts {
  readonly train: Part;
  /** Absent when nothing is held back. */
  readonly validation?: Part;
  readonly test: Part;
}

/**
 * One seed for every run: the held-back images depend on the data alone, so that figures of different variants
 * and seeds are about the same images.
 */
const VALIDATION_SEED = 0;

/** What a run trains on, judges with and is tested on. @throws UserError when so many images cannot be held back. */
export function partsOf({ validation }: Pick<RunData, "validation">, dataset: Dataset): Parts {
  const { train, test, classes } = dataset;
  if (test.count === 0) throw new UserError(`data ${dataset.name}: has no test images`);
  const whole = { split: test, count: test.count };
  const held = divide(train, classes, validation === "test" ? 0 : validation, VALIDATION_SEED);
  const part = (indices: Uint32Array): Part => ({ split: train, indices, count: indices.length });
  return {
    train: part(held.train),
    test: whole,
    ...(validation === "test" && { validation: whole }),
    ...(held.validation.length > 0 && { validation: part(held.validation) }),
  };
}

/** Measured on the images trained on. */
export function normalizationOf({ normalize }: RunData, dataset: Dataset, { train }: Parts): Normalization {
  return measureNormalization(dataset, train.indices!, normalize);
}

/** A loader of a part's images in their order, unchanged but for normalisation. */
export function loadInOrder(
  part: Part,
  dataset: Dataset,
  batch: number,
  normalization: Normalization,
): Loader {
  const { height, width } = dataset;
  const { split, indices } = part;
  return new Loader({ split, indices, height, width, batch, normalization, seed: 0, shuffle: false });
}

/** @throws UserError when the data are not those the run was set up or trained with. */
export function expectData(
  where: string,
  expected: Pick<RunData, "classes" | "image">,
  { name, classes, height, width }: Dataset,
): void {
  const [h, w] = expected.image;
  if (h !== height || w !== width) {
    throw new UserError(
      `${where}: expects images of ${h}×${w} (height × width), data ${name} has ${height}×${width}`,
    );
  }
  if (
    classes.length !== expected.classes.length ||
    classes.some((label, k) => label !== expected.classes[k])
  ) {
    throw new UserError(
      `${where}: expects the classes ${expected.classes.join(", ")}, data ${name} has ${classes.join(", ")}`,
    );
  }
}
