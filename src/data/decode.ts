import { readFile } from "node:fs/promises";
import { join } from "node:path";
import sharp, { type Sharp, type SharpOptions } from "sharp";
import { unreadable } from "../files/unreadable.ts";
import { UserError } from "../tensor/errors.ts";
import type { LabelledFile } from "./classFolders.ts";
import type { ImageFiles } from "./imageFiles.ts";
import type { Progress } from "./source.ts";

export interface ImageSize {
  readonly height: number;
  readonly width: number;
}

const DEFAULT_SIZE: ImageSize = { height: 32, width: 32 };
const LARGEST_KEPT = 64;
const AT_ONCE = 16;
const REPORTED = 3;
/** 100 megapixels: what a larger image says may be a lie that takes all memory. */
const LIMITS: SharpOptions = { limitInputPixels: 1e8 };
/** Lines are kept many at a time: millions of pixels in one take all memory too. */
const MOST_TIMES_AS_LONG = 100;
/** Some files can only be decoded whole. */
const MOST_BYTES = 5e8;
const BYTES_OF: Readonly<Record<string, number>> = { uchar: 1, ushort: 2, float: 4 };

/** Where decoded images go: one target a size, since a size met on the way may prove not to be common to all. */
export type Allocate = (size: ImageSize) => (path: string, pixels: Uint8Array) => void;

/**
 * Decodes every file to [H,W,3] bytes in sRGB, turned upright, transparency on white, cut and scaled to cover
 * the size. Without a size, the images' own is kept when all share one of at most 64 × 64, else 32 × 32 is
 * taken. Throws UserError naming files that are no images.
 */
export async function decodeImages(
  source: ImageFiles,
  files: readonly LabelledFile[],
  size: ImageSize | undefined,
  allocate: Allocate,
  onProgress?: (progress: Progress) => void,
): Promise<void> {
  const wanted = new Set(files.map((file) => file.path));
  const common = size ?? (await firstSize(source, files[0].path));
  const fits = await decodeAll(
    source,
    wanted,
    common,
    !size && isSmall(common),
    allocate(common),
    onProgress,
  );
  if (!fits) await decodeAll(source, wanted, DEFAULT_SIZE, false, allocate(DEFAULT_SIZE), onProgress);
}

/** Size to try when none was asked for: the first image's own when it is small, else the default. */
async function firstSize(source: ImageFiles, path: string): Promise<ImageSize> {
  for await (const { bytes } of source.read(new Set([path]))) {
    try {
      const { size } = await openImage(await bytes());
      return isSmall(size) ? size : DEFAULT_SIZE;
    } catch {
      break;
    }
  }
  return DEFAULT_SIZE;
}

const isSmall = ({ height, width }: ImageSize) => height <= LARGEST_KEPT && width <= LARGEST_KEPT;

/** @returns false, early, when `exact` and an image has another size. */
async function decodeAll(
  source: ImageFiles,
  wanted: ReadonlySet<string>,
  size: ImageSize,
  exact: boolean,
  store: (path: string, pixels: Uint8Array) => void,
  onProgress?: (progress: Progress) => void,
): Promise<boolean> {
  const failures: string[] = [];
  const running = new Set<Promise<void>>();
  let done = 0;
  let fits = true;
  let unreadableFile: UserError | undefined;
  const decodeOne = async (path: string, bytes: () => Promise<Buffer>) => {
    try {
      const pixels = await decodeImage(await bytes(), size, exact);
      if (pixels) store(path, pixels);
      else fits = false;
    } catch (error) {
      // a file that is no longer there, a disk that fails: the images are not to blame
      if ((error as NodeJS.ErrnoException).syscall)
        unreadableFile ??= unreadable(join(source.path, path), error);
      else failures.push(`${path} (${reason(error)})`);
    }
    onProgress?.({ phase: "decode", unit: "images", done: ++done, total: wanted.size });
  };
  for await (const { path, bytes } of source.read(wanted)) {
    if (running.size >= AT_ONCE) await Promise.race(running);
    if (!fits || unreadableFile) break;
    const job: Promise<void> = decodeOne(path, bytes).finally(() => running.delete(job));
    running.add(job);
  }
  await Promise.all(running);
  if (unreadableFile) throw unreadableFile;
  if (!fits) return false;
  if (failures.length > 0) {
    const few = failures.sort().slice(0, REPORTED).join(", ");
    const more = failures.length > REPORTED ? `, and ${failures.length - REPORTED} more` : "";
    const files = failures.length === 1 ? "1 file is no image" : `${failures.length} files are no images`;
    throw new UserError(`${source.path}: ${files} that can be read: ${few}${more}: repair or remove them`);
  }
  return true;
}

/**
 * An image file, or the bytes of one, as [H,W,3] bytes of a size: as `decodeImages` brings them to it.
 * @throws UserError when it cannot be read or is no image.
 */
export async function readImage(image: string | Uint8Array, size: ImageSize): Promise<Uint8Array> {
  const where = typeof image === "string" ? image : "image";
  const bytes =
    typeof image === "string"
      ? await readFile(image).catch((error) => {
          throw unreadable(where, error);
        })
      : Buffer.from(image.buffer, image.byteOffset, image.byteLength);
  try {
    return (await decodeImage(bytes, size, false))!;
  } catch (error) {
    throw new UserError(`${where}: is no image that can be read (${reason(error)})`);
  }
}

/**
 * How sharp's `cover` brings an image to a size: by one factor for both sides, which makes it this high and wide, then
 * cut from left and top on.
 */
export function coverOf(
  image: ImageSize,
  { height, width }: ImageSize,
): ImageSize & { readonly left: number; readonly top: number } {
  const factor = Math.min(image.width / width, image.height / height);
  const scaled = {
    width: Math.max(width, Math.round(image.width / factor)),
    height: Math.max(height, Math.round(image.height / factor)),
  };
  return {
    ...scaled,
    left: Math.floor((scaled.width - width + 1) / 2),
    top: Math.floor((scaled.height - height + 1) / 2),
  };
}

/**
 * An image file's bytes as a picture turned upright, in sRGB, transparency on white, and its size.
 * @throws what sharp throws, and an Error when the picture would take too much memory.
 */
export async function openImage(
  bytes: Uint8Array,
): Promise<{ readonly upright: Sharp; readonly size: ImageSize }> {
  const { autoOrient, channels, depth } = await sharp(bytes, LIMITS).metadata();
  const { height, width } = autoOrient;
  if (Math.max(height, width) > MOST_TIMES_AS_LONG * Math.min(height, width)) {
    throw new Error(
      `${width} × ${height} pixels: expected a side at most ${MOST_TIMES_AS_LONG} times the other`,
    );
  }
  if (height * width * channels * (BYTES_OF[depth] ?? 8) > MOST_BYTES) {
    throw new Error(`${width} × ${height} pixels of ${channels} channels (${depth}) are too many`);
  }
  const upright = sharp(bytes, LIMITS).autoOrient().flatten({ background: "#ffffff" }).toColourspace("srgb");
  return { upright, size: { height, width } };
}

/** One image as [H,W,3] bytes; undefined when `exact` and its own size is another. Throws what sharp throws. */
async function decodeImage(bytes: Buffer, size: ImageSize, exact: boolean): Promise<Uint8Array | undefined> {
  const { upright } = await openImage(bytes);
  const sized = exact ? upright : upright.resize(size.width, size.height, { fit: "cover" });
  const { data, info } = await sized.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
  if (info.width !== size.width || info.height !== size.height) return undefined;
  if (info.channels !== 3) throw new Error(`${info.channels} channels after conversion to sRGB`);
  return data;
}

function reason(error: unknown): string {
  const lines = (error instanceof Error ? error.message : String(error)).split("\n");
  return lines[0].replace(/^Input buffer /, "");
}
