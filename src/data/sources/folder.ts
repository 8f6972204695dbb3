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
  size: z.union([side, z.tuple([side, side])]).optional(),
  test: z.union([z.number().gt(0).lt(1), z.int().min(1)]).optional(),
  seed: z.int().min(0).optional(),
});

/**
 * Class folders of images, or a tar of them. `size` in pixels, one number or [height, width]; `test` and
 * `seed` say how many images become the test set, and which, when there is no test folder (default 0.2, 0).
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
