import { createHash } from "node:crypto";
import { type FileHandle, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { expectMemory } from "../engine/memory.ts";
import { makeFolder, removeUnfinished, writeDurably } from "../files/durable.ts";
import { parseJson } from "../files/json.ts";
import type { Dataset, Split } from "./dataset.ts";
import { fingerprintOf } from "./split.ts";

const MAGIC = "atento pack 1\n";
const HEADER_BYTES_AT = 16;
const HEADER_AT = 20;
const ALIGNMENT = 64;
const READ_BYTES = 2 ** 30;

type Shape = Pick<Dataset, "name" | "classes" | "height" | "width"> & { train: number; test: number };

/**
 * A data set in one block of shared memory, laid out as in its file: magic, header (JSON), labels of both
 * splits (two bytes each, in the machine's order: the file is a cache, not for exchange), images [N,H,W,3].
 */
export class Pack {
  readonly dataset: Omit<Dataset, "fingerprint">;
  readonly #bytes: Uint8Array;

  constructor(shape: Shape) {
    const header = Buffer.from(JSON.stringify({ ...shape, fingerprint: "0".repeat(64) }));
    expectMemory(`data ${shape.name}`, packBytes(header.length, shape));
    this.#bytes = new Uint8Array(new SharedArrayBuffer(packBytes(header.length, shape)));
    this.#bytes.set(Buffer.from(MAGIC));
    view(this.#bytes).setUint32(HEADER_BYTES_AT, header.length);
    this.#bytes.set(header, HEADER_AT);
    this.dataset = splitsIn(this.#bytes, header.length, shape);
  }

  /** The data set with its fingerprint, once images and labels are filled in. */
  seal(): Dataset {
    const { name, classes, height, width, train, test } = this.dataset;
    const fingerprint = fingerprintOf(this.dataset);
    const shape = { name, classes, height, width, train: train.count, test: test.count };
    this.#bytes.set(Buffer.from(JSON.stringify({ ...shape, fingerprint })), HEADER_AT);
    return { ...this.dataset, fingerprint };
  }

  /** Writes the sealed pack and removes older packs of the same data under other contents. */
  async save(folder: string, key: PackKey): Promise<void> {
    await makeFolder(folder);
    await removeUnfinished(folder);
    await writeDurably(join(folder, fileName(key)), this.#bytes);
    for (const name of await readdir(folder)) {
      const outdated = name.startsWith(`${digest(key.subject)}-`) && name !== fileName(key);
      if (outdated) await rm(join(folder, name), { force: true });
    }
  }
}

export interface PackKey {
  /** What is packed and how: path, size, split. */
  readonly subject: string;
  /** Which state of it: names, sizes and times of its files. */
  readonly content: string;
}

/**
 * The pack of this key; undefined when there is none, or its bytes are not those that were written.
 * @param onNote told of a pack that is damaged.
 */
export async function readPack(
  folder: string,
  key: PackKey,
  onNote?: (note: string) => void,
): Promise<Dataset | undefined> {
  const path = join(folder, fileName(key));
  const file = await open(path, "r").catch(() => undefined);
  if (!file) return undefined;
  try {
    const dataset = parsePack(await readAll(file));
    if (!dataset)
      onNote?.(`${path}: these images, kept from an earlier start, are damaged: they are read anew`);
    return dataset;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall)
      onNote?.(`${path}: cannot be read (${(error as Error).message})`);
    else throw error;
    return undefined;
  } finally {
    await file.close();
  }
}

async function readAll(file: FileHandle): Promise<Uint8Array> {
  const { size } = await file.stat();
  expectMemory("the data set", size);
  const bytes = new Uint8Array(new SharedArrayBuffer(size));
  for (let at = 0; at < size; ) {
    const { bytesRead } = await file.read(bytes, at, Math.min(READ_BYTES, size - at), at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes;
}

const headerSchema = z.object({
  name: z.string(),
  classes: z.array(z.string()).min(1),
  height: z.int().positive(),
  width: z.int().positive(),
  train: z.int().min(0),
  test: z.int().min(0),
  fingerprint: z.string(),
});

function parsePack(bytes: Uint8Array): Dataset | undefined {
  if (bytes.length < HEADER_AT || text(bytes, 0, MAGIC.length) !== MAGIC) return undefined;
  const headerBytes = view(bytes).getUint32(HEADER_BYTES_AT);
  if (HEADER_AT + headerBytes > bytes.length) return undefined;
  const parsed = headerSchema.safeParse(parseJson(text(bytes, HEADER_AT, headerBytes)));
  if (!parsed.success) return undefined;
  const header = parsed.data;
  if (packBytes(headerBytes, header) !== bytes.length) return undefined;
  const dataset = splitsIn(bytes, headerBytes, header);
  return fingerprintOf(dataset) === header.fingerprint
    ? { ...dataset, fingerprint: header.fingerprint }
    : undefined;
}

function splitsIn(bytes: Uint8Array, headerBytes: number, shape: Shape): Omit<Dataset, "fingerprint"> {
  const { train, test, name, classes, height, width } = shape;
  const labelsAt = align(HEADER_AT + headerBytes);
  const imagesAt = align(labelsAt + 2 * (train + test));
  const imageBytes = height * width * 3;
  const split = (first: number, count: number): Split => ({
    count,
    images: new Uint8Array(bytes.buffer, imagesAt + first * imageBytes, count * imageBytes),
    labels: new Uint16Array(bytes.buffer, labelsAt + 2 * first, count),
  });
  return { name, classes, height, width, train: split(0, train), test: split(train, test) };
}

function packBytes(headerBytes: number, { train, test, height, width }: Shape): number {
  return align(align(HEADER_AT + headerBytes) + 2 * (train + test)) + (train + test) * height * width * 3;
}

const align = (at: number) => Math.ceil(at / ALIGNMENT) * ALIGNMENT;
const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
// TextDecoder refuses shared memory: copy first.
const text = (bytes: Uint8Array, at: number, length: number) =>
  Buffer.from(bytes.slice(at, at + length)).toString();
const digest = (subject: string) => createHash("sha256").update(subject).digest("hex").slice(0, 16);
const fileName = ({ subject, content }: PackKey) => `${digest(subject)}-${digest(content)}.pack`;
