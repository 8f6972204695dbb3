import { readFile } from "node:fs/promises";
import protobuf from "protobufjs";
import { DamagedFile, UserError } from "../../tensor/errors.ts";
import { type Shape, sizeOf } from "../../tensor/tensor.ts";
import { type Trained, trainedOf } from "../../train/trained.ts";
import { expectFitting } from "../../train/weights.ts";
import { CONSTANT } from "./graph.ts";
import { FLOAT } from "./proto.ts";

interface Stored {
  readonly dtype: string;
  readonly shape: Shape;
  readonly bytes: Uint8Array;
}

/** What a model file says of itself, and its tensors. */
export interface OnnxFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, Stored>;
}

/**
 * Reads a model that `writeOnnx` wrote: the weights by name, the architecture from its metadata.
 * @throws UserError when somebody else wrote it, DamagedFile when its bytes are no ONNX.
 */
export async function readOnnx(path: string): Promise<Trained> {
  const bytes = await readFile(path).catch((error: Error) => {
    throw new UserError(`${path}: cannot be read (${error.message})`);
  });
  const { metadata, tensors } = parseOnnx(bytes, path);
  if (metadata["architecture"] === undefined) {
    throw new UserError(
      `${path}: has no architecture in its metadata: of ONNX files only those that atento export wrote are read`,
    );
  }
  return trainedOf(path, metadata, async (variables) => {
    expectFitting(variables, tensors, path);
    return new Map(variables.map(({ name }) => [name, valuesOf(tensors.get(name)!, `${path}: ${name}`)]));
  });
}

function valuesOf({ bytes, shape }: Stored, where: string): Float32Array {
  if (bytes.length !== 4 * sizeOf(shape)) {
    throw new DamagedFile(`${where}: holds ${bytes.length} bytes, its shape takes ${4 * sizeOf(shape)}`);
  }
  return new Float32Array(Uint8Array.from(bytes).buffer);
}

type Take = (reader: protobuf.Reader, wire: number) => void;

/** Visits the fields of one message by their numbers, passing over all others. */
function visit(reader: protobuf.Reader, end: number, fields: Readonly<Record<number, Take>>): void {
  while (reader.pos < end) {
    const tag = reader.uint32();
    const take = fields[tag >>> 3];
    if (take) take(reader, tag & 7);
    else reader.skipType(tag & 7);
  }
  if (reader.pos !== end) throw new RangeError("a message ends inside a field");
}

/** The end of the message that begins here. */
function endOf(reader: protobuf.Reader): number {
  const length = reader.uint32();
  if (length > reader.len - reader.pos) throw new RangeError("a message is longer than the file");
  return reader.pos + length;
}

const MOST_DIMENSIONS = 8;

/** @param where the file's path, for errors. @throws DamagedFile when the bytes are no ONNX. */
export function parseOnnx(bytes: Uint8Array, where: string): OnnxFile {
  const metadata: Record<string, string> = Object.create(null);
  const tensors = new Map<string, Stored>();
  const entry: Take = (reader) => {
    let [key, value] = ["", ""];
    visit(reader, endOf(reader), {
      1: () => {
        key = reader.string();
      },
      2: () => {
        value = reader.string();
      },
    });
    metadata[key] = value;
  };
  const graph: Take = (reader) => visit(reader, endOf(reader), { 5: (at) => keep(tensorAt(at), tensors) });
  try {
    const reader = protobuf.Reader.create(bytes);
    visit(reader, reader.len, { 7: graph, 14: entry });
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new DamagedFile(`${where}: no ONNX model (${(error as Error).message})`);
  }
  return { metadata, tensors };
}

function keep({ name, ...tensor }: Stored & { readonly name: string }, tensors: Map<string, Stored>): void {
  if (name.startsWith(CONSTANT)) return;
  if (tensors.has(name)) throw new RangeError(`tensor ${name.slice(0, 80)} stands twice in it`);
  tensors.set(name, tensor);
}

function tensorAt(reader: protobuf.Reader): Stored & { readonly name: string } {
  const shape: number[] = [];
  let [name, type, bytes] = ["", 0, new Uint8Array(0)];
  const dimension = () => {
    if (shape.length === MOST_DIMENSIONS) throw new RangeError("a tensor has too many dimensions");
    shape.push(Number(reader.int64()));
  };
  visit(reader, endOf(reader), {
    1: (_, wire) => {
      if (wire !== 2) return dimension();
      for (const end = endOf(reader); reader.pos < end; ) dimension();
    },
    2: () => {
      type = reader.int32();
    },
    8: () => {
      name = reader.string();
    },
    9: () => {
      bytes = reader.bytes() as Uint8Array<ArrayBuffer>;
    },
  });
  return { name, shape, bytes, dtype: type === FLOAT ? "F32" : `type ${type}` };
}
