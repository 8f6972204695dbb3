import { readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { z } from "zod";
import { unreadable } from "../../files/unreadable.ts";
import { UserError } from "../../tensor/errors.ts";
import type { Dataset, Split } from "../dataset.ts";
import { download } from "../download.ts";
import { cacheFolder, type LoadOptions, type SourceSpec, userPath } from "../source.ts";
import { allocateSplit, fingerprintOf } from "../split.ts";
import { readTar } from "../tar.ts";

export const cifar10Schema = z.strictObject({
  source: z.literal("cifar10"),
  path: z.string().min(1).optional(),
});

/** CIFAR-10 (Krizhevsky, 2009); `path` is the official binary archive or the folder it was unpacked to. */
export type Cifar10Source = z.infer<typeof cifar10Schema>;

export const cifar10Source: SourceSpec<Cifar10Source> = {
  name: "cifar10",
  summary: "CIFAR-10, found locally or downloaded (170 MB)",
  usage: "cifar10 or cifar10:PATH",
  schema: cifar10Schema,
  fromText: (rest) => (rest ? { source: "cifar10", path: rest } : { source: "cifar10" }),
  load: loadCifar10,
};

export const CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";
const CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530";
const ARCHIVE = "cifar-10-binary.tar.gz";
const UNPACKED = "cifar-10-batches-bin";
const NAMES = "batches.meta.txt";
const TRAIN_FILES = [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`);
const TEST_FILE = "test_batch.bin";
const BATCH_FILES = [...TRAIN_FILES, TEST_FILE];

const SIDE = 32;
const PLANE_BYTES = SIDE * SIDE;
const RECORD_BYTES = 1 + 3 * PLANE_BYTES;
const RECORDS = 10_000;

async function loadCifar10(source: Cifar10Source, options: LoadOptions): Promise<Dataset> {
  const place = await locate(source.path, options);
  const classes = parseClassNames(await place.names());
  const train = allocateSplit(TRAIN_FILES.length * RECORDS, SIDE, SIDE);
  const test = allocateSplit(RECORDS, SIDE, SIDE);
  const missing = new Set(BATCH_FILES);
  for await (const { name, bytes } of place.batches()) {
    const [split, first] = name === TEST_FILE ? [test, 0] : [train, TRAIN_FILES.indexOf(name) * RECORDS];
    parseBatch(name, bytes, split, first, RECORDS);
    missing.delete(name);
  }
  if (missing.size > 0) {
    throw new UserError(
      `${place.path}: ${[...missing].join(", ")} missing: unpack or download the archive again`,
    );
  }
  const dataset = { name: "cifar10", classes, height: SIDE, width: SIDE, train, test };
  return { ...dataset, fingerprint: fingerprintOf(dataset) };
}

/**
 * Copies a batch file's records (a label byte, then 32×32 of red, of green, of blue) to `split` from image
 * `first` on, as [N,32,32,3]. Throws UserError naming the file when it has another length or a label over 9.
 */
export function parseBatch(
  name: string,
  bytes: Uint8Array,
  split: Split,
  first: number,
  records: number,
): void {
  const expected = records * RECORD_BYTES;
  if (bytes.length !== expected) {
    throw new UserError(
      `${name}: expected ${grouped(expected)} bytes, has ${grouped(bytes.length)}: ` +
        "unpack or download the archive again",
    );
  }
  for (let record = 0; record < records; record++) {
    const at = record * RECORD_BYTES;
    const label = bytes[at];
    if (label > 9) {
      throw new UserError(
        `${name}: record ${record} has label ${label}, expected 0 to 9: ` +
          "is it the binary version of CIFAR-10? unpack or download the archive again",
      );
    }
    split.labels[first + record] = label;
    const planes = at + 1;
    let out = (first + record) * 3 * PLANE_BYTES;
    for (let pixel = 0; pixel < PLANE_BYTES; pixel++) {
      split.images[out++] = bytes[planes + pixel];
      split.images[out++] = bytes[planes + PLANE_BYTES + pixel];
      split.images[out++] = bytes[planes + 2 * PLANE_BYTES + pixel];
    }
  }
}

/** Ten names, one a line, as batches.meta.txt has them; throws UserError for anything else. */
export function parseClassNames(content: string): string[] {
  const names = content.split(/\r?\n/).map((line) => line.trim());
  const classes = names.filter((name) => name !== "");
  if (classes.length !== 10 || new Set(classes).size !== 10) {
    throw new UserError(
      `${NAMES}: expected ten class names, has ${classes.length}: unpack or download the archive again`,
    );
  }
  return classes;
}

/** Where the batch files lie: a folder of them, or an archive. */
interface Place {
  readonly path: string;
  names(): Promise<string>;
  batches(): AsyncGenerator<{ name: string; bytes: Uint8Array }>;
}

async function locate(path: string | undefined, options: LoadOptions): Promise<Place> {
  const cache = cacheFolder(options);
  if (path !== undefined) {
    const given = resolve(userPath(path));
    const found = await stat(given).catch(() => undefined);
    if (!found) throw new UserError(`${given}: no such file or folder: check the path, or leave it out`);
    const place = found.isDirectory() ? await searchFolder(given) : archive(given);
    if (place) return place;
    options.onNote?.(`${given}: has neither ${TRAIN_FILES[0]} nor ${ARCHIVE}: looking in ${cache}`);
  }
  const cached = await searchFolder(cache);
  if (cached) return cached;
  const { url = CIFAR10_URL, md5 = CIFAR10_MD5 } = options.cifar10 ?? {};
  await download({ url, md5, target: join(cache, ARCHIVE), onProgress: options.onProgress });
  return archive(join(cache, ARCHIVE));
}

async function searchFolder(path: string): Promise<Place | undefined> {
  for (const candidate of [path, join(path, UNPACKED)]) {
    for (const name of BATCH_FILES) if (await exists(join(candidate, name))) return folder(candidate);
  }
  return (await exists(join(path, ARCHIVE))) ? archive(join(path, ARCHIVE)) : undefined;
}

function folder(path: string): Place {
  return {
    path,
    names: async () => {
      const content = await readFile(join(path, NAMES), "utf8").catch(() => undefined);
      if (content === undefined) throw missingNames(path);
      return content;
    },
    batches: async function* () {
      for (const name of BATCH_FILES) {
        const file = join(path, name);
        if (!(await exists(file))) continue;
        const bytes = await readFile(file).catch((error) => {
          throw unreadable(file, error);
        });
        yield { name, bytes };
      }
    },
  };
}

function archive(path: string): Place {
  return {
    path,
    names: async () => {
      for await (const { path: member, bytes } of readTar(path, (member) => basename(member) === NAMES)) {
        if (basename(member) === NAMES) return bytes.toString("utf8");
      }
      throw missingNames(path);
    },
    batches: async function* () {
      const wanted = (member: string) => BATCH_FILES.includes(basename(member));
      for await (const { path: member, bytes } of readTar(path, wanted)) {
        if (wanted(member)) yield { name: basename(member), bytes };
      }
    },
  };
}

function missingNames(path: string): UserError {
  return new UserError(
    `${path}: ${NAMES} missing: expected the binary version of CIFAR-10; download it again`,
  );
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

const grouped = (n: number) => n.toLocaleString("en-US");
