import { z } from "zod";
import { Random } from "../../random/random.ts";
import { UserError } from "../../tensor/errors.ts";
import type { Dataset, Split } from "../dataset.ts";
import { ShapePainter } from "../shapes/draw.ts";
import { OUTLINES } from "../shapes/outlines.ts";
import type { SourceSpec } from "../source.ts";
import { allocateSplit, fingerprintOf } from "../split.ts";

const count = z.int().min(OUTLINES.length).max(1_000_000);

export const shapesSchema = z.strictObject({
  source: z.literal("shapes"),
  train: count.optional(),
  test: count.optional(),
  size: z.int().min(16).max(512).optional(),
  seed: z.int().min(0).optional(),
});

/**
 * The built-in data set: ten kinds of object on textured backgrounds, with masks; a pure function of its
 * settings (default 5,000 training and 1,000 test images of 32 × 32, seed 0), on every platform.
 */
export type ShapesSource = z.infer<typeof shapesSchema>;

export const shapesSource: SourceSpec<ShapesSource> = {
  name: "shapes",
  summary: "built in: ten kinds of object on textured backgrounds, with their masks",
  usage: "shapes",
  schema: shapesSchema,
  fromText: (rest) => {
    if (rest)
      throw new UserError(`shapes: takes nothing behind it, got ${JSON.stringify(rest)}: write shapes`);
    return { source: "shapes" };
  },
  load: async (source) => drawShapes(source),
};

/** Draws the data set: classes take turns, and image i depends on seed, part and i alone. */
export function drawShapes({
  train = 5000,
  test = 1000,
  size = 32,
  seed = 0,
}: Omit<ShapesSource, "source">): Dataset {
  const dataset = {
    name: "shapes",
    classes: OUTLINES.map((outline) => outline.name),
    height: size,
    width: size,
    train: drawSplit("train", train, size, seed),
    test: drawSplit("test", test, size, seed),
  };
  return { ...dataset, fingerprint: fingerprintOf(dataset) };
}

function drawSplit(part: "train" | "test", count: number, size: number, seed: number): Split {
  const split = allocateSplit(count, size, size, { masks: true });
  const painter = new ShapePainter(size);
  const area = size * size;
  for (let i = 0; i < count; i++) {
    const label = i % OUTLINES.length;
    split.labels[i] = label;
    const pixels = split.images.subarray(i * area * 3, (i + 1) * area * 3);
    const mask = split.masks!.subarray(i * area, (i + 1) * area);
    painter.draw(OUTLINES[label], new Random("shapes", seed, part, i), pixels, mask);
  }
  return split;
}
