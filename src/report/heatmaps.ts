import { stat } from "node:fs/promises";
import sharp from "sharp";
import type { MethodScores } from "../cam/record.ts";
import { camPaths } from "../cam/run.ts";
import { shorten } from "../files/shorten.ts";
import { valuesOf } from "../formats/safetensors.ts";
import { SafetensorsFile } from "../formats/sealed.ts";
import { UserError } from "../tensor/errors.ts";
import type { GateLayer, HeatmapImage, HeatmapMethod, HeatmapRun, HeatmapsPage, Score } from "./page/data.ts";
import { SCORES } from "./page/data.ts";
import type { RunRecord } from "./study-record.ts";

/** Maps of one page, in bytes; those of further seeds are left out. */
const MOST_MAP_BYTES = 6e6;
/** Images are shown at most this large, in pixels a side. */
const LARGEST_IMAGE = 160;

/** The heatmaps of a study's finished runs; undefined where none were computed. @throws UserError naming the file at fault. */
export async function heatmapsOf(
  studyFolder: string,
  runs: readonly RunRecord[],
  classes: number,
): Promise<HeatmapsPage | undefined> {
  const scored = runs.flatMap((run) => (run.explained ? [{ run, scores: run.explained }] : []));
  const path = camPaths(studyFolder).images;
  if (scored.length === 0 || !(await stat(path).catch(() => undefined))) return undefined;
  const [{ scores: first }] = scored;
  const { images, size } = await readImages(
    path,
    first.images.map(({ index }) => index),
    classes,
  );
  const places = new Map(images.map(({ index }, at) => [index, at]));
  let bytes = 0;
  const pages: HeatmapRun[] = [];
  const gates: GateLayer[] = [];
  for (const { run, scores } of scored) {
    const { variant, seed } = run.file.settings;
    const maps = await readMaps(camPaths(run.folder).maps, scores.images.length);
    for (const { values } of maps.maps.values()) bytes += values.length;
    const fits = bytes <= MOST_MAP_BYTES;
    pages.push({
      ...{ variant, seed, layer: scores.layer },
      images: scores.images.map(({ index, predicted, probability }) => ({
        at: places.get(index) ?? -1,
        predicted: Math.min(predicted, classes - 1),
        probability: rounded(probability),
      })),
      methods: Object.entries(scores.methods).map(([name, values]) =>
        methodOf(name, values, maps.maps.get(name), fits),
      ),
    });
    if (!gates.some((gate) => gate.variant === variant)) {
      gates.push(...maps.gates.map((gate) => ({ variant, seed, ...gate })));
    }
  }
  return { images, size, runs: pages, gates };
}

const rounded = (value: number) => Number(value.toPrecision(5));

interface Bytes {
  readonly shape: readonly number[];
  /** In 255ths. */
  readonly values: Uint8Array;
}

function methodOf(name: string, scores: MethodScores, map: Bytes | undefined, fits: boolean): HeatmapMethod {
  const known = (Object.keys(SCORES) as Score[]).flatMap((score) =>
    scores[score] ? [[score, scores[score].map(rounded)] as const] : [],
  );
  const [, height = 1, width = 1] = map?.shape ?? [];
  return {
    ...{ name, height, width },
    ...(map && (fits ? { maps: base64(map.values) } : { leftOut: true })),
    scores: Object.fromEntries(known),
  };
}

const base64 = (bytes: Uint8Array) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");

/** Maps and gates of a run, by method and by layer; none where there is no file. */
async function readMaps(
  path: string,
  images: number,
): Promise<{
  maps: ReadonlyMap<string, Bytes>;
  gates: { layer: string; shape: readonly number[]; values: string }[];
}> {
  const maps = new Map<string, Bytes>();
  const gates: { layer: string; shape: readonly number[]; values: string }[] = [];
  if (!(await stat(path).catch(() => undefined))) return { maps, gates };
  await SafetensorsFile.with(path, async (file) => {
    for (const name of file.header.entries.keys()) {
      const [, kind, of] = /^(map|gate)\.(.+)$/.exec(name) ?? [];
      if (kind === undefined) continue;
      const tensor = await file.read(name);
      const { shape } = tensor;
      if (
        kind === "map"
          ? shape.length !== 3 || shape[0] !== images || shape[1] * shape[2] === 0
          : shape.length < 2 || shape.length > 3 || shape.includes(0)
      ) {
        throw new UserError(
          `${path}: ${shorten(name)} is [${shape}], expected ${kind === "map" ? `[${images},h,w]` : "[classes,channels] or [classes,h,w]"}`,
        );
      }
      const bytes = Uint8Array.from(valuesOf(tensor) as Float32Array, (value) =>
        Math.round(255 * Math.min(1, Math.max(0, value || 0))),
      );
      if (kind === "map") maps.set(of, { shape, values: bytes });
      else gates.push({ layer: of, shape, values: base64(bytes) });
    }
  });
  return { maps, gates: gates.sort((a, b) => (a.layer < b.layer ? -1 : 1)) };
}

/** The images of the heatmaps, no larger than they are shown. */
async function readImages(
  path: string,
  indices: readonly number[],
  classes: number,
): Promise<{ images: HeatmapImage[]; size: readonly [number, number] }> {
  return SafetensorsFile.with(path, async (file) => {
    const expected = `images U8 [${indices.length},H,W,3] and labels I32 [${indices.length}]`;
    const entry = file.header.entries.get("images");
    const labelled = file.header.entries.get("labels");
    const [count, height, width, channels] = entry?.shape ?? [];
    if (
      entry?.dtype !== "U8" ||
      entry.shape.length !== 4 ||
      channels !== 3 ||
      height * width === 0 ||
      count !== indices.length ||
      labelled?.shape[0] !== count
    ) {
      throw new UserError(`${path}: does not hold ${expected}: remove it, then compute the heatmaps anew`);
    }
    const pixels = (await file.read("images")).bytes;
    const labels = Array.from(valuesOf(await file.read("labels")) as ArrayLike<number | bigint>, Number);
    const masked = file.header.entries.get("masks");
    const masks =
      masked?.dtype === "U8" && masked.shape.join() === [count, height, width].join()
        ? (await file.read("masks")).bytes
        : undefined;
    const zoom = Math.min(1, LARGEST_IMAGE / Math.max(height, width));
    const size = [Math.max(1, Math.round(height * zoom)), Math.max(1, Math.round(width * zoom))] as const;
    const images: HeatmapImage[] = [];
    for (const [k, index] of indices.entries()) {
      const raw = Buffer.from(pixels.subarray(k * height * width * 3, (k + 1) * height * width * 3));
      const image = sharp(raw, { raw: { height, width, channels: 3 } }).resize(size[1], size[0]);
      const large = Math.max(...size) > 64;
      const file = await (large ? image.jpeg({ quality: 88 }) : image.png()).toBuffer();
      images.push({
        index,
        label: Math.min(Math.max(0, labels[k]), classes - 1),
        url: `data:image/${large ? "jpeg" : "png"};base64,${file.toString("base64")}`,
        ...(masks && {
          mask: base64(
            shrink(masks.subarray(k * height * width, (k + 1) * height * width), [height, width], size),
          ),
        }),
      });
    }
    return { images, size };
  });
}

/** The nearest of a mask's values; 0 or 1. */
function shrink(
  mask: Uint8Array,
  [height, width]: readonly [number, number],
  [rows, columns]: readonly [number, number],
): Uint8Array {
  return Uint8Array.from({ length: rows * columns }, (_, k) => {
    const y = Math.floor(((Math.floor(k / columns) + 0.5) * height) / rows);
    const x = Math.floor((((k % columns) + 0.5) * width) / columns);
    return mask[y * width + x] > 0 ? 1 : 0;
  });
}
