import { basename, join, resolve } from "node:path";
import { z } from "zod";
import { UserError } from "../../tensor/errors.ts";
import { findClassFolders } from "../classFolders.ts";
import type { Dataset } from "../dataset.ts";
import { decodeImages } from "../decode.ts";
import { type ImageFiles, openImageFiles } from "../imageFiles.ts";
import { Pack, type PackKey, readPack } from "../pack.ts";
import { cacheFolder, type LoadOptions, type SourceSpec, userPath } from "../source.ts";

const side = z.int().min(1).max(1024);

export const folderSchema = z.strictObject({
  source: z.literal("folder"),
  path: z.string().min(1),
  masks: z.string().min(1).optional(),
  size: z.union([side, z.tuple([side, side])]).optional(),
  test: z.union([z.number().gt(0).lt(1), z.int().min(1)]).optional(),
  seed: z.int().min(0).optional(),
});

/**
 * Class folders of images, or a tar of them. `size` in pixels, one number or [height, width]; `test` and
 * `seed` say how many images become the test set, and which, when there is no test folder (default 0.2, 0). `masks`
 * is a folder or tar beside it that holds for every test image one of the same path, whatever its ending, light on
 * the object.
 */
export type FolderSource = z.infer<typeof folderSchema>;

export const folderSource: SourceSpec<FolderSource> = {
  name: "folder",
  summary: "class folders of images, or a tar of them",
  usage: "folder:PATH",
  schema: folderSchema,
  fromText: (rest) => {
    if (!rest) throw new UserError("folder: expected a path behind it: folder:PATH (a folder or a tar)");
    return { source: "folder", path: rest };
  },
  load: loadFolder,
};

async function loadFolder(source: FolderSource, options: LoadOptions): Promise<Dataset> {
  const path = resolve(userPath(source.path));
  const files = await openImageFiles(path);
  const dataset = await loadImages(files, path, source, options);
  return source.masks === undefined ? dataset : withMasks(dataset, files, source.masks, source, options);
}

async function loadImages(
  files: ImageFiles,
  path: string,
  source: FolderSource,
  options: LoadOptions,
): Promise<Dataset> {
  const { size, test = 0.2, seed = 0 } = source;
  const key: PackKey = { subject: JSON.stringify({ path, size, test, seed }), content: await files.stamp() };
  const packs = join(cacheFolder(options), "packs");
  const cached = await readPack(packs, key, options.onNote);
  if (cached) return cached;

  const pack = await packImages(files, source, { test, seed }, options);
  const dataset = pack.seal();
  await pack.save(packs, key).catch((error: Error) => {
    options.onNote?.(`${packs}: images could not be kept for the next start (${error.message})`);
  });
  return dataset;
}

async function packImages(
  files: ImageFiles,
  source: FolderSource,
  split: { test: number; seed: number },
  options: LoadOptions,
): Promise<Pack> {
  const { classes, train, test, notes } = findClassFolders(await files.list(), split, files.path);
  for (const note of notes) options.onNote?.(`${files.path}: ${note}`);
  const name = basename(files.path).replace(/\.(tar|tgz|tar\.gz)$/i, "");
  const rows = new Map([...train, ...test].map((file, row) => [file.path, { label: file.label, row }]));
  const [height, width] = typeof source.size === "number" ? [source.size, source.size] : (source.size ?? []);

  let pack: Pack | undefined;
  await decodeImages(
    files,
    [...train, ...test],
    height && width ? { height, width } : undefined,
    (size) => {
      pack = new Pack({ name, classes, ...size, train: train.length, test: test.length });
      const { dataset } = pack;
      return (path, pixels) => {
        const { label, row } = rows.get(path)!;
        const [part, index] = row < train.length ? [dataset.train, row] : [dataset.test, row - train.length];
        part.images.set(pixels, index * pixels.length);
        part.labels[index] = label;
      };
    },
    options.onProgress,
  );
  return pack!;
}

const LIGHT = 128;
const withoutEnding = (path: string) => path.replace(/\.[^./]+$/, "");

/** The data set with masks of its test images. @throws UserError naming an image that has none. */
async function withMasks(
  dataset: Dataset,
  files: ImageFiles,
  masksPath: string,
  { test = 0.2, seed = 0 }: FolderSource,
  options: LoadOptions,
): Promise<Dataset> {
  const images = findClassFolders(await files.list(), { test, seed }, files.path).test;
  const given = await openImageFiles(resolve(userPath(masksPath)));
  const byName = new Map((await given.list()).files.map((path) => [withoutEnding(path), path]));
  const wanted = images.map(({ path, label }) => {
    const mask = byName.get(withoutEnding(path));
    if (mask === undefined) {
      throw new UserError(`${given.path}: holds no mask of ${path}: every test image needs one of its path`);
    }
    return { path: mask, label };
  });
  const { height, width } = dataset;
  const area = height * width;
  const masks = new Uint8Array(new SharedArrayBuffer(images.length * area));
  const rows = new Map(wanted.map(({ path }, row) => [path, row]));
  const store = (path: string, pixels: Uint8Array) => {
    const row = rows.get(path)!;
    for (let p = 0; p < area; p++) masks[row * area + p] = pixels[3 * p + 1] >= LIGHT ? 1 : 0;
  };
  await decodeImages(given, wanted, { height, width }, () => store, options.onProgress);
  return { ...dataset, test: { ...dataset.test, masks } };
}
