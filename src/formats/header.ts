import { DamagedFile } from "../tensor/errors.ts";
import { type Shape, showShape, sizeOf } from "../tensor/tensor.ts";
import { type Dtype, dtypes } from "./dtypes.ts";
import { repeatedKey } from "./json.ts";

/** What a header says of a tensor; bytes are counted from the end of the header. */
export interface TensorEntry {
  readonly dtype: Dtype;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  /** In the order of the file. */
  readonly entries: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Of the file, where the tensors' bytes begin. */
  readonly dataBegin: number;
}

/** Bytes that say how long the header is. */
export const LENGTH_BYTES = 8;
/** Far beyond any model's: the JSON of a longer one would take gigabytes to read. */
const MAX_HEADER_BYTES = 10_000_000;

type Refuse = (problem: string) => DamagedFile;

const refuser =
  (where: string): Refuse =>
  (problem) =>
    new DamagedFile(`${where}: no valid safetensors file: ${problem}`);

/**
 * Length of the header that follows the first 8 bytes of a file.
 * @param where the file's path, for errors. @throws DamagedFile when the file cannot hold it.
 */
export function headerLength(first: Uint8Array, fileBytes: number, where: string): number {
  const refuse = refuser(where);
  if (fileBytes < LENGTH_BYTES) throw refuse(`${fileBytes} bytes, the length of its header alone takes 8`);
  const length = Number(new DataView(first.buffer, first.byteOffset).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES)
    throw refuse(`header of ${length} bytes, at most ${MAX_HEADER_BYTES} are allowed`);
  if (LENGTH_BYTES + length > fileBytes)
    throw refuse(`header of ${length} bytes, but the file ends after ${fileBytes - LENGTH_BYTES}`);
  return length;
}

/**
 * Reads a header strictly: what it says must describe the file's bytes exactly, once, without holes.
 * @param where the file's path, for errors. @throws DamagedFile naming the tensor at fault.
 */
export function parseHeader(bytes: Uint8Array, fileBytes: number, where: string): Header {
  const refuse = refuser(where);
  const dataBegin = LENGTH_BYTES + bytes.length;
  const dataBytes = fileBytes - dataBegin;
  const { __metadata__: metadata = {}, ...entries } = parseObject(bytes, refuse);
  if (!isRecord(metadata) || Object.values(metadata).some((value) => typeof value !== "string")) {
    throw refuse("__metadata__ must hold strings only");
  }
  const placed = Object.entries(entries)
    .map(([name, entry]) => ({ name, entry: checkEntry(name, entry, dataBytes, refuse) }))
    .sort((a, b) => a.entry.begin - b.entry.begin || a.entry.end - b.entry.end);
  let position = 0;
  for (const {
    name,
    entry: { begin, end },
  } of placed) {
    if (begin < position)
      throw refuse(`tensor ${shown(name)}: begins at byte ${begin}, inside the tensor before it`);
    if (begin > position)
      throw refuse(`tensor ${shown(name)}: bytes ${position} to ${begin} before it are nobody's`);
    position = end;
  }
  if (position < dataBytes) throw refuse(`${dataBytes - position} bytes after the last tensor are nobody's`);
  return {
    entries: new Map(placed.map(({ name, entry }) => [name, entry])),
    metadata: metadata as Record<string, string>,
    dataBegin,
  };
}

function parseObject(bytes: Uint8Array, refuse: Refuse): Record<string, unknown> {
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(text);
  } catch (error) {
    throw refuse(`its header is not JSON (${(error as Error).message})`);
  }
  if (!isRecord(json) || !text.startsWith("{")) throw refuse("its header is not a JSON object");
  const repeated = repeatedKey(text);
  if (repeated !== undefined) throw refuse(`tensor ${shown(repeated)}: the name stands twice in the header`);
  return json;
}

function checkEntry(name: string, entry: unknown, dataBytes: number, refuse: Refuse): TensorEntry {
  const fault = (problem: string) => refuse(`tensor ${shown(name)}: ${problem}`);
  if (!isRecord(entry)) throw fault("its entry is not an object");
  const { dtype, shape, data_offsets: offsets, ...others } = entry;
  const unknown = Object.keys(others);
  if (unknown.length > 0)
    throw fault(`unknown field ${unknown.map(shown).join(", ").slice(0, LONGEST_SHOWN)}`);
  if (typeof dtype !== "string" || !isDtype(dtype)) {
    throw fault(`dtype ${brief(dtype)} is not among ${Object.keys(dtypes).join(", ")}`);
  }
  if (!isCounts(shape)) throw fault(`shape ${brief(shape)} is not a list of whole numbers from 0`);
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw fault(`data_offsets ${brief(offsets)} are not [begin, end]`);
  }
  const [begin, end] = offsets;
  if (end > dataBytes) throw fault(`ends at byte ${end}, but the file holds ${dataBytes} bytes of tensors`);
  const expected = sizeOf(shape) * dtypes[dtype].bytes;
  if (end - begin !== expected) {
    throw fault(`${dtype} ${showShape(shape)} takes ${expected} bytes, its data_offsets span ${end - begin}`);
  }
  return { dtype, shape, begin, end };
}

const LONGEST_SHOWN = 80;

/** A name as it can stand in one line. */
function shown(name: string): string {
  const plain = /^[\w./-]+$/.test(name) && name.length <= LONGEST_SHOWN;
  return plain ? name : JSON.stringify(name.slice(0, LONGEST_SHOWN));
}

/** A value of a header, which may be of any size and depth. */
function brief(value: unknown): string {
  if (Array.isArray(value) && value.some((entry) => typeof entry === "object")) return "of lists";
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return "of a table";
  const text = JSON.stringify(Array.isArray(value) ? value.slice(0, 20) : value) ?? "undefined";
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isDtype = (name: string): name is Dtype => Object.hasOwn(dtypes, name);

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);

/** A tensor to be written. */
export interface TensorShape {
  readonly shape: Shape;
  /** F32 by default. */
  readonly dtype?: "F32" | "I64" | "I32" | "U8";
}

export const bytesOf = ({ shape, dtype = "F32" }: TensorShape) => sizeOf(shape) * dtypes[dtype].bytes;

/**
 * How a file of these tensors begins, its length included, and the order of their values: by size of a value (so
 * that all stay aligned), then by name; the data begin at a multiple of 8 bytes.
 */
export function layOut<T extends TensorShape>(
  tensors: ReadonlyMap<string, T>,
  metadata: Readonly<Record<string, string>> = {},
): {
  readonly head: Uint8Array;
  readonly order: readonly (readonly [string, T])[];
  readonly dataBytes: number;
} {
  const order = [...tensors].sort(
    ([a, { dtype: ofA = "F32" }], [b, { dtype: ofB = "F32" }]) =>
      dtypes[ofB].bytes - dtypes[ofA].bytes || (a < b ? -1 : 1),
  );
  let position = 0;
  const fields = order.map(([name, tensor]) => {
    const begin = position;
    position += bytesOf(tensor);
    const { dtype = "F32", shape } = tensor;
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, position] })}`;
  });
  if (Object.keys(metadata).length > 0) fields.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  const text = new TextEncoder().encode(`{${fields.join(",")}}`);
  const headerBytes = Math.ceil(text.length / 8) * 8;
  const head = new Uint8Array(LENGTH_BYTES + headerBytes).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(headerBytes), true);
  head.set(text, LENGTH_BYTES);
  return { head, order, dataBytes: position };
}
