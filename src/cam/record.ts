import { z } from "zod";

const perImage = z.array(z.number());
const flags = z.array(z.union([z.literal(0), z.literal(1)]));

/** Scores of one method's maps, a value an image of the record. */
const methodScoresSchema = z.object({
  /** Area under the class's probability while pixels appear in a blurred image, the most salient first; high is good. */
  insertion: perImage,
  /** Area under the class's probability while pixels are removed, the most salient first; low is good. */
  deletion: perImage,
  /** ROAD, (LeRF − MoRF)/2; high is good. */
  road: perImage,
  /** Share of the class's probability that is lost where the image is multiplied by the map; low is good. */
  drop: perImage,
  /** 1 where the probability rises instead. */
  increase: flags,
  /** 1 where the map's maximum is on the object; only with masks, as the next two. */
  pointing: flags.optional(),
  /** Share of the map's sum that is on the object. */
  energy: perImage.optional(),
  /** Best intersection over union of the thresholded map with the object. */
  iou: perImage.optional(),
  /** Spearman's correlation with the map of the same network with random weights, both with their signs; near 0 is good. */
  sanity: perImage,
});

/**
 * `<run>/cam/scores.json`: what the maps of a finished run are worth on a fixed sample of the test set. Beside it
 * lies `maps.safetensors`: `map.<method>` [N,h,w] float32, clipped at 0 and divided by its maximum, before it is
 * resized, and `gate.<layer>` [classes, channels] or, of a spatial gate, [classes,h,w], means by true class. The
 * study's folder holds `cam/images.safetensors`: `images` U8 [N,H,W,3], `labels` I32 [N], `masks` U8 [N,H,W] where
 * the data have them.
 */
export const scoresSchema = z
  .object({
    /** Layer the maps are taken at. */
    layer: z.string(),
    images: z.array(
      z.object({
        /** Number in the test set; the same for all runs of a study. */
        index: z.int().min(0),
        label: z.int().min(0),
        /** The class explained. */
        predicted: z.int().min(0),
        probability: z.number(),
      }),
    ),
    methods: z.record(z.string(), methodScoresSchema),
  })
  .superRefine(({ images, methods }, context) => {
    for (const [method, scores] of Object.entries(methods)) {
      for (const [score, values] of Object.entries(scores)) {
        if (values.length === images.length) continue;
        const message = `${values.length} values for ${images.length} images`;
        context.addIssue({ code: "custom", path: ["methods", method, score], message });
      }
    }
  });

export type MethodScores = z.output<typeof methodScoresSchema>;
export type RunScores = z.output<typeof scoresSchema>;
export type ScoreName = keyof MethodScores;
