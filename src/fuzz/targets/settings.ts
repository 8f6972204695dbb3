import { resolveModel } from "../../models/options.ts";
import { Variables } from "../../nn/scope.ts";
import type { Variable } from "../../tensor/tensor.ts";
import { evaluationGraph } from "../../train/graphs.ts";
import { trainSchema } from "../../train/options.ts";
import type { RunSettings } from "../../train/types.ts";

/** Of the run whose files are damaged. */
export const settings: RunSettings = {
  variant: "se",
  seed: 1,
  model: resolveModel(
    {
      name: "resnet14",
      depths: [1],
      widths: [2],
      expansion: 2,
      attention: "se",
      attentionOptions: { reduction: 2 },
    },
    2,
  ),
  data: {
    source: { source: "folder", path: "photos" },
    name: "photos",
    fingerprint: "f".repeat(64),
    classes: ["cat", "dog"],
    image: [8, 8],
    validation: 4,
    normalize: "channel",
  },
  train: trainSchema.parse({ epochs: 3, schedule: "plateau", earlyStopping: {}, augment: ["crop", "flip"] }),
};

export function modelVariables(): Variable[] {
  const variables = new Variables(1);
  evaluationGraph(settings.model, variables, { batch: 1, image: settings.data.image });
  return variables.all();
}
