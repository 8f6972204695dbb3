import { UserError } from "../tensor/errors.ts";
import { type Shape, showShape, sizeOf } from "../tensor/tensor.ts";
import { type Dtype, dtypes, type TypedArray } from "./dtypes.ts";
import { repeatedKey } from "./json.ts";

/** A tensor of a file that was read. */
export interface StoredTensor {
  readonly dtype: Dtype;
  readonly shape: Shape;
  /** Little-endian values, a view into the file's bytes. */
  readonly bytes: Uint8Array;
}

export interface Safetensors {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A tensor to write. `values` is read once, in the file's order: a getter can hand tensors over one by one. */
export interface NewTensor {
  readonly shape: Shape;
  /** F32 by default. */
  readonly dtype?: "F32" | "I64";
  readonly values: Float32Array | BigInt64Array;
}

const MAX_HEADER_BYTES = 100_000_000;

/** Values in the array type of their dtype (F16 and BF16: Float32Array), as a copy. */
export function valuesOf({ dtype, bytes }: StoredTensor): TypedArray {
  return dtypes[dtype].decode(Uint8Array.from(bytes).buffer);
}

/** Values as float32, rounded where the dtype is wider. */
export function floatsOf(tensor: StoredTensor): Float32Array {
  const values = valuesOf(tensor);
  if (values instanceof Float32Array) return values;
  return Float32Array.from(values as ArrayLike<number | bigint>, Number);
}

/**
 * Reads a safetensors file strictly: what it says must describe its bytes exactly, once, without holes.
 * @param where the file's path, for errors. @throws UserError naming the tensor at fault.
 */
export function readSafetensors(bytes: Uint8Array, where = "safetensors"): Safetensors {
  const refuse = (problem: string) => new UserError(`${where}: no valid safetensors file: ${problem}`);
  const header = readHeader(bytes, refuse);
  const data = bytes.subarray(header.end);
  const { __metadata__: metadata = {}, ...entries } = header.json;
  if (!isRecord(metadata) || Object.values(metadata).some((value) => typeof value !== "string")) {
    throw refuse("__metadata__ must hold strings only");
  }
  const placed = Object.entries(entries)
    .map(([name, entry]) => ({ name, ...checkEntry(name, entry, data.length, refuse) }))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const { name, begin, end } of placed) {
    if (begin < position)
      throw refuse(`tensor ${name}: begins at byte ${begin}, inside the tensor before it`);
    if (begin > position)
      throw refuse(`tensor ${name}: bytes ${position} to ${begin} before it are nobody's`);
    position = end;
  }
  if (position < data.length) {
    throw refuse(`${data.length - position} bytes after the last tensor are nobody's`);
  }
  const tensors = new Map(
    placed.map(({ name, dtype, shape, begin, end }) => [
      name,
      { dtype, shape, bytes: data.subarray(begin, end) },
    ]),
  );
  return { tensors, metadata: metadata as Record<string, string> };
}

type Refuse = (problem: string) => UserError;

function readHeader(bytes: Uint8Array, refuse: Refuse): { json: Record<string, unknown>; end: number } {
  if (bytes.length < 8) throw refuse(`${bytes.length} bytes, the length of its header alone takes 8`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES)
    throw refuse(`header of ${length} bytes, at most ${MAX_HEADER_BYTES} are allowed`);
  const end = 8 + length;
  if (end > bytes.length)
    throw refuse(`header of ${length} bytes, but the file ends after ${bytes.length - 8}`);
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(8, end));
    json = JSON.parse(text);
  } catch (error) {
    throw refuse(`its header is not JSON (${(error as Error).message})`);
  }
  if (!isRecord(json) || !text.startsWith("{")) throw refuse("its header is not a JSON object");
  const repeated = repeatedKey(text);
  if (repeated !== undefined) throw refuse(`tensor ${repeated}: the name stands twice in the header`);
  return { json, end };
}

interface Entry {
  readonly dtype: Dtype;
  readonly shape: number[];
  readonly begin: number;
  readonly end: number;
}

function checkEntry(name: string, entry: unknown, dataBytes: number, refuse: Refuse): Entry {
  const fault = (problem: string) => refuse(`tensor ${name}: ${problem}`);
  if (!isRecord(entry)) throw fault("its entry is not an object");
  const { dtype, shape, data_offsets: offsets, ...others } = entry;
  const unknown = Object.keys(others);
  if (unknown.length > 0) throw fault(`unknown field ${unknown.join(", ")}`);
  if (typeof dtype !== "string" || !isDtype(dtype)) {
    throw fault(`dtype ${JSON.stringify(dtype)} is not among ${Object.keys(dtypes).join(", ")}`);
  }
  if (!isCounts(shape)) throw fault(`shape ${JSON.stringify(shape)} is not a list of whole numbers from 0`);
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw fault(`data_offsets ${JSON.stringify(offsets)} are not [begin, end]`);
  }
  const [begin, end] = offsets;
  if (end > dataBytes) throw fault(`ends at byte ${end}, but the file holds ${dataBytes} bytes of tensors`);
  const expected = sizeOf(shape) * dtypes[dtype].bytes;
  if (end - begin !== expected) {
    throw fault(`${dtype} ${showShape(shape)} takes ${expected} bytes, its data_offsets span ${end - begin}`);
  }
  return { dtype, shape, begin, end };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isDtype = (name: string): name is Dtype => Object.hasOwn(dtypes, name);

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);

/**
 * A safetensors file of the tensors, sorted by size of their values (so that all stay aligned), then by name;
 * the data begin at a multiple of 8 bytes. @throws Error when values do not fit their shape.
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, NewTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const bytesOf = ({ shape, dtype = "F32" }: NewTensor) => sizeOf(shape) * dtypes[dtype].bytes;
  const sorted = [...tensors].sort(
    ([a, { dtype: ofA = "F32" }], [b, { dtype: ofB = "F32" }]) =>
      dtypes[ofB].bytes - dtypes[ofA].bytes || (a < b ? -1 : 1),
  );
  let position = 0;
  const fields = sorted.map(([name, tensor]) => {
    const begin = position;
    position += bytesOf(tensor);
    const { dtype = "F32", shape } = tensor;
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, position] })}`;
  });
  if (Object.keys(metadata).length > 0) fields.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  const text = new TextEncoder().encode(`{${fields.join(",")}}`);
  const headerBytes = Math.ceil(text.length / 8) * 8;

  const file = new Uint8Array(8 + headerBytes + position);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
  file.set(text, 8);
  file.fill(0x20, 8 + text.length, 8 + headerBytes);
  let at = 8 + headerBytes;
  for (const [name, tensor] of sorted) {
    const { values } = tensor;
    const wanted = tensor.dtype === "I64" ? BigInt64Array : Float32Array;
    if (!(values instanceof wanted) || values.byteLength !== bytesOf(tensor)) {
      throw new Error(
        `${name}: ${values.length} values of ${values.constructor.name} do not fit ${showShape(tensor.shape)}`,
      );
    }
    file.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += values.byteLength;
  }
  return file;
}
