import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { DamagedFile, UserError } from "../tensor/errors.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { type Header, headerLength, LENGTH_BYTES, layOut, parseHeader, type TensorShape } from "./header.ts";
import type { StoredTensor } from "./safetensors.ts";

/** In a sealed file the checksum stands first in the metadata, so that its place is always the same. */
const BEFORE_SEAL = '{"__metadata__":{"sha256":"';
const SEAL_AT = LENGTH_BYTES + BEFORE_SEAL.length;
const SEAL_BYTES = 64;
const BLANK = "0".repeat(SEAL_BYTES);

const CHUNK_BYTES = 2 ** 22;

/**
 * Writes a safetensors file of float32 tensors that vouches for itself: `sha256` in its metadata is the checksum of
 * the whole file with zeros in its place. Memory for a few tensors is enough.
 * @param values of a tensor, asked for once each, in the file's order; may be overwritten at the next call.
 */
export async function writeSealed(
  file: FileHandle,
  tensors: ReadonlyMap<string, Omit<TensorShape, "dtype">>,
  metadata: Readonly<Record<string, string>>,
  values: (name: string) => Float32Array,
): Promise<void> {
  const { head, order } = layOut(tensors, { sha256: BLANK, ...metadata });
  const out = new HashedWriter(file);
  await out.write(head);
  for (const [name, { shape }] of order) {
    const floats = values(name);
    if (floats.length !== sizeOf(shape)) throw new Error(`${name}: ${floats.length} values, not ${shape}`);
    await out.write(new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength));
  }
  const seal = await out.end();
  await writeAt(file, Buffer.from(seal), SEAL_AT);
}

/** Gathers small pieces into large ones and takes the checksum of all; one piece is filled while another is written. */
class HashedWriter {
  readonly #file: FileHandle;
  readonly #hash: Hash = createHash("sha256");
  #chunk = new Uint8Array(CHUNK_BYTES);
  #spare = new Uint8Array(CHUNK_BYTES);
  #writing: Promise<void> = Promise.resolve();
  #filled = 0;
  #position = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + CHUNK_BYTES - this.#filled);
      this.#chunk.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === CHUNK_BYTES) await this.#flush();
    }
  }

  /** The checksum in hexadecimal, once everything is written. */
  async end(): Promise<string> {
    await this.#flush();
    await this.#writing;
    return this.#hash.digest("hex");
  }

  async #flush(): Promise<void> {
    const bytes = this.#chunk.subarray(0, this.#filled);
    this.#hash.update(bytes);
    await this.#writing;
    this.#writing = writeAt(this.#file, bytes, this.#position);
    this.#writing.catch(() => undefined); // told where it is waited for
    this.#position += bytes.length;
    this.#filled = 0;
    [this.#chunk, this.#spare] = [this.#spare, this.#chunk];
  }
}

async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await file.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
  }
}

/** A safetensors file on disk, of any size, read tensor by tensor. */
export class SafetensorsFile {
  readonly path: string;
  readonly header: Header;
  readonly #file: FileHandle;
  readonly #bytes: number;

  private constructor(path: string, file: FileHandle, bytes: number, header: Header) {
    this.path = path;
    this.#file = file;
    this.#bytes = bytes;
    this.header = header;
  }

  /**
   * Opens a file for the time of a job.
   * @throws UserError when it cannot be read, DamagedFile when its header does not describe its bytes.
   */
  static async with<T>(path: string, job: (file: SafetensorsFile) => Promise<T>): Promise<T> {
    const file = await onDisk(path, () => open(path, "r"));
    try {
      const { size } = await onDisk(path, () => file.stat());
      const first = await readAt(path, file, 0, Math.min(LENGTH_BYTES, size));
      const length = headerLength(first, size, path);
      const header = parseHeader(await readAt(path, file, LENGTH_BYTES, length), size, path);
      return await job(new SafetensorsFile(path, file, size, header));
    } finally {
      await file.close();
    }
  }

  /** A tensor of the header. */
  async read(name: string): Promise<StoredTensor> {
    const entry = this.header.entries.get(name);
    if (!entry) throw new Error(`${this.path}: has no tensor ${name}`);
    const { dtype, shape, begin, end } = entry;
    const bytes = await readAt(this.path, this.#file, this.header.dataBegin + begin, end - begin);
    return { dtype, shape, bytes };
  }

  /** @throws DamagedFile when the bytes are not those that were sealed, or were never sealed. */
  async expectSealed(): Promise<void> {
    const hash = createHash("sha256");
    let seal = "";
    for (let at = 0; at < this.#bytes; at += CHUNK_BYTES) {
      const bytes = await readAt(this.path, this.#file, at, Math.min(CHUNK_BYTES, this.#bytes - at));
      if (at === 0) seal = takeSeal(bytes);
      hash.update(bytes);
    }
    if (seal === hash.digest("hex")) return;
    throw new DamagedFile(
      `${this.path}: is damaged: ${seal ? "its bytes do not give the checksum it bears" : "it bears no checksum"}`,
    );
  }
}

/** Blanks the checksum in the first bytes of a file and returns it; empty when there is none. */
function takeSeal(bytes: Uint8Array): string {
  const text = (from: number, length: number) =>
    Buffer.from(bytes.buffer, bytes.byteOffset).toString("latin1", from, from + length);
  if (bytes.length < SEAL_AT + SEAL_BYTES || text(LENGTH_BYTES, BEFORE_SEAL.length) !== BEFORE_SEAL)
    return "";
  const seal = text(SEAL_AT, SEAL_BYTES);
  bytes.set(Buffer.from(BLANK), SEAL_AT);
  return seal;
}

async function readAt(path: string, file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const want = Math.min(CHUNK_BYTES, length - at);
    const { bytesRead } = await onDisk(path, () => file.read(bytes, at, want, position + at));
    if (bytesRead === 0) throw new DamagedFile(`${path}: ends while it is read, at byte ${position + at}`);
    at += bytesRead;
  }
  return bytes;
}

/** Bytes that the disk cannot give back are damage; anything else the user can mend. */
async function onDisk<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const problem = code === "EIO" ? DamagedFile : UserError;
    throw new problem(`${path}: cannot be read (${message}): check its permissions and the disk`);
  }
}
