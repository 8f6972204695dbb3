import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import type { Dataset } from "../data/dataset.ts";
import { coverOf, openImage } from "../data/decode.ts";
import { UserError } from "../tensor/errors.ts";
import { enlarged, type Picture } from "./draw/overlay.ts";

/** An image to explain: as the network takes it, and as people see it. */
export interface InputImage {
  /** Its file, or its place in a data set. */
  readonly name: string;
  /** [H,W,3] bytes of the network's size. */
  readonly bytes: Uint8Array;
  /** A whole number of times larger: pixel (x, y) of `bytes` is the square from (zoom·x, zoom·y) on. */
  readonly shown: Picture;
  /** Of a data set's image. */
  readonly label?: number;
  /** [H,W]. */
  readonly mask?: Uint8Array;
}

/** Screen pixels along the shorter side of an image, at least. */
const SHOWN = 160;

const zoomOf = ([height, width]: readonly [number, number], shown: number) =>
  Math.max(1, Math.ceil(shown / Math.min(height, width)));

/**
 * A photograph of any size, cut to the network's shape as a folder data set is: upright, transparency on white,
 * scaled to cover, its middle taken.
 * @throws UserError when it cannot be read or is no image.
 */
export async function readPhotograph(
  path: string,
  size: readonly [number, number],
  shown = SHOWN,
): Promise<InputImage> {
  const file = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(
      `${path}: ${error.code === "ENOENT" ? "no such image" : `cannot be read (${error.message})`}: give the path of an image, or an image of a data set such as shapes:test/5`,
    );
  });
  return decodePhotograph(file, path, size, shown);
}

/** @param name for errors and captions. */
export async function decodePhotograph(
  file: Uint8Array,
  name: string,
  size: readonly [number, number],
  shown = SHOWN,
): Promise<InputImage> {
  const [height, width] = size;
  const zoom = zoomOf(size, shown);
  try {
    const { upright, size: own } = await openImage(file);
    const cover = coverOf(own, { height, width });
    // both are cut from one grid, so that a pixel of the map lies on its pixel of the photograph
    const cut = async (times: number) => {
      const whole = { height: times * height, width: times * width };
      const [left, top] = [times * cover.left, times * cover.top];
      const scaled = coverOf(own, whole);
      const part = {
        width: Math.min(whole.width, scaled.width - left),
        height: Math.min(whole.height, scaled.height - top),
      };
      return upright
        .clone()
        .resize(whole.width, whole.height, { fit: "outside" })
        .extract({ left, top, ...part })
        .extend({ right: whole.width - part.width, bottom: whole.height - part.height, extendWith: "copy" })
        .raw({ depth: "uchar" })
        .toBuffer();
    };
    const [bytes, pixels] = [await cut(1), await cut(zoom)];
    if (bytes.length !== 3 * height * width) throw new Error("it cannot be brought to sRGB");
    const picture = { pixels, height: zoom * height, width: zoom * width };
    return { name: basename(name), bytes, shown: picture };
  } catch (error) {
    const [first] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new UserError(`${name}: is no image that can be read (${first.replace(/^Input buffer /, "")})`);
  }
}

/** The image of a data set with this number. @throws UserError when there is none. */
export function imageOfDataset(
  dataset: Dataset,
  part: "train" | "test",
  index: number,
  shown = SHOWN,
): InputImage {
  const { height, width, name } = dataset;
  const split = dataset[part];
  if (index >= split.count) {
    throw new UserError(`${name}:${part}/${index}: there are ${split.count} images, 0 to ${split.count - 1}`);
  }
  const area = height * width;
  const bytes = split.images.slice(index * 3 * area, (index + 1) * 3 * area);
  return {
    name: `${part}-${index}`,
    bytes,
    shown: enlarged({ pixels: bytes, height, width }, zoomOf([height, width], shown)),
    label: split.labels[index],
    ...(split.masks && { mask: split.masks.slice(index * area, (index + 1) * area) }),
  };
}

/** `source:part/number`, such as cifar10:test/17; undefined for what is a path. */
export function datasetPlace(
  text: string,
): { readonly source: string; readonly part: "train" | "test"; readonly index: number } | undefined {
  const found = /^((?:cifar10|shapes|folder)(?::.*)?):(train|test)\/(\d+)$/.exec(text);
  if (!found) return undefined;
  return { source: found[1], part: found[2] as "train" | "test", index: Number(found[3]) };
}
