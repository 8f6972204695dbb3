import { colormaps } from "../cam/draw/colormaps.ts";
import { colored, enlarged, overlaid } from "../cam/draw/overlay.ts";
import { type Cell, drawSheet } from "../cam/draw/sheet.ts";
import { finished } from "../cam/map.ts";
import { camPaths, readTensors, STUDY_METHODS } from "../cam/run.ts";
import { floatsOf, valuesOf } from "../formats/safetensors.ts";
import type { FinishedRun } from "../study/results.ts";
import { runFolder } from "../study/run.ts";

const [METHOD] = STUDY_METHODS;
const ALPHA = 0.4;
const SHOWN = 96;

/**
 * The study's picture of where its variants look: a class a row, the first image of the sample, and a variant a
 * column, its lowest seed. Drawn from what the runs' folders hold; undefined when they hold no maps.
 */
export async function heatmapSheet(
  studyFolder: string,
  runs: readonly FinishedRun[],
): Promise<Buffer | undefined> {
  const tensors = await readTensors(camPaths(studyFolder).images);
  const images = tensors?.get("images");
  const variants = [...new Set(runs.map(({ settings }) => settings.variant))];
  const firsts = variants.flatMap((variant) => {
    const own = runs.filter(({ settings, explained }) => settings.variant === variant && explained);
    return own.sort((a, b) => a.settings.seed - b.settings.seed).slice(0, 1);
  });
  if (!images || firsts.length === 0) return undefined;
  const [, height, width] = images.shape;
  const pixels = valuesOf(images) as Uint8Array;
  const { classes } = firsts[0].settings.data;
  const columns = await Promise.all(
    firsts.map(async ({ settings, explained }) => {
      const maps = (await readTensors(camPaths(runFolder(studyFolder, settings)).maps))?.get(`map.${METHOD}`);
      return (
        maps && { name: settings.variant, scores: explained!, values: floatsOf(maps), shape: maps.shape }
      );
    }),
  );
  const known = columns.flatMap((column) => column ?? []);
  if (known.length === 0) return undefined;
  const { images: sample } = known[0].scores;
  const zoom = Math.max(1, Math.round(SHOWN / Math.min(height, width)));
  const rows = classes.flatMap((name, label) => {
    const k = sample.findIndex((image) => image.label === label);
    if (k < 0) return [];
    const size = 3 * height * width;
    const picture = enlarged({ pixels: pixels.slice(k * size, (k + 1) * size), height, width }, zoom);
    const cells = known.map(({ scores, values, shape: [, h, w] }): Cell => {
      const own = values.slice(k * h * w, (k + 1) * h * w);
      const map = finished(own, h, w, picture.height, picture.width);
      const heat = colored(map, picture.height, picture.width, colormaps["jet"]);
      const { predicted, probability } = scores.images[k];
      return {
        picture: overlaid(picture, heat, ALPHA),
        caption: `${classes[predicted]} ${(100 * probability).toFixed(0)} %`,
        wrong: predicted !== label,
      };
    });
    return [{ title: name, cells: [{ picture, caption: "" }, ...cells] }];
  });
  const { layer } = known[0].scores;
  return drawSheet({
    title: `Where the variants look: ${METHOD} at ${layer}`,
    columns: ["image", ...known.map(({ name }) => name)],
    rows,
  });
}
