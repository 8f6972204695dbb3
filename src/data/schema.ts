import { z } from "zod";
import { nearest } from "../files/nearest.ts";
import type { Augmentation } from "./augment.ts";
import { unknownSource } from "./registry.ts";
import { cifar10Schema } from "./sources/cifar10.ts";
import { folderSchema } from "./sources/folder.ts";
import { shapesSchema } from "./sources/shapes.ts";

const explainSource = {
  error: ({ input }: { input?: unknown }) => {
    const source = (input as { source?: unknown } | undefined)?.source;
    return typeof source === "string"
      ? unknownSource(source)
      : "expected a data source, such as { source: shapes }";
  },
};

/** A data source in a study file: `{ source: folder, path: PATH }`. */
export const dataSourceSchema = z.discriminatedUnion(
  "source",
  [cifar10Schema, folderSchema, shapesSchema],
  explainSource,
);

const use = {
  /** Training images set aside to judge by, a tenth when left out; `test`: the test images judge. */
  validation: z.union([z.int().min(0), z.literal("test")]).optional(),
  /** Mean and deviation of each channel, or one of each over everything. */
  normalize: z.enum(["channel", "scalar"]).default("channel"),
};

/** `data` in a study file: the source and how it is used, `{ source: cifar10, validation: 5000 }`. */
export const dataSchema = z.discriminatedUnion(
  "source",
  [cifar10Schema.extend(use), folderSchema.extend(use), shapesSchema.extend(use)],
  explainSource,
);

export type DataSettings = z.infer<typeof dataSchema>;

const CHANGES = ["crop", "flip", "cutout"];
const orDefaults = (value: unknown) => (value === true ? {} : value);

const changes = z.strictObject(
  {
    crop: z.preprocess(orDefaults, z.strictObject({ padding: z.int().min(1).max(64).default(4) })).optional(),
    flip: z.boolean().optional(),
    cutout: z.preprocess(orDefaults, z.strictObject({ size: z.int().min(1).max(512).default(8) })).optional(),
  },
  {
    error: (issue) => {
      if (issue.code !== "unrecognized_keys") return undefined;
      const [name] = issue.keys as string[];
      const guess = nearest(name, CHANGES);
      const hint = guess ? `did you mean ${guess}?` : `there are ${CHANGES.join(", ")}`;
      return `unknown augmentation ${JSON.stringify(name)}: ${hint}`;
    },
  },
);

/**
 * Augmentation in a study file, a list in any order: `[crop, flip]`, `[{ crop: { padding: 4 } }, { cutout: { size:
 * 16 } }]`; what it resolves to is read again as it is.
 */
export const augmentationSchema: z.ZodType<Augmentation> = z.preprocess((value, context) => {
  if (!Array.isArray(value)) return value;
  const entries = value.flatMap((item): [string, unknown][] =>
    typeof item === "object" && item !== null ? Object.entries(item) : [[String(item), true]],
  );
  const twice = entries.find(([name], i) => entries.findIndex(([other]) => other === name) < i);
  if (twice) context.addIssue({ code: "custom", message: `${twice[0]} comes twice`, input: value });
  return Object.fromEntries(entries);
}, changes);
