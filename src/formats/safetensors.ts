import { type Shape, showShape } from "../tensor/tensor.ts";
import { type Dtype, dtypes, type TypedArray } from "./dtypes.ts";
import { bytesOf, headerLength, LENGTH_BYTES, layOut, parseHeader, type TensorShape } from "./header.ts";

/** A tensor of a file that was read. */
export interface StoredTensor {
  readonly dtype: Dtype;
  readonly shape: Shape;
  /** Little-endian values; where a whole file was given, a view into its bytes. */
  readonly bytes: Uint8Array;
}

export interface Safetensors {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A tensor to write. `values` is read once, in the file's order: a getter can hand tensors over one by one. */
export interface NewTensor extends TensorShape {
  readonly values: Float32Array | BigInt64Array | Int32Array | Uint8Array;
}

const arrays = { F32: Float32Array, I64: BigInt64Array, I32: Int32Array, U8: Uint8Array };

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
 * @param where the file's path, for errors. @throws DamagedFile naming the tensor at fault.
 */
export function readSafetensors(bytes: Uint8Array, where = "safetensors"): Safetensors {
  const length = headerLength(bytes, bytes.length, where);
  const header = bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + length);
  const { entries, metadata, dataBegin } = parseHeader(header, bytes.length, where);
  const tensors = new Map(
    [...entries].map(([name, { dtype, shape, begin, end }]) => [
      name,
      { dtype, shape, bytes: bytes.subarray(dataBegin + begin, dataBegin + end) },
    ]),
  );
  return { tensors, metadata };
}

/** A safetensors file, laid out as `layOut` says. @throws Error when values do not fit their shape. */
export function writeSafetensors(
  tensors: ReadonlyMap<string, NewTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const { head, order, dataBytes } = layOut(tensors, metadata);
  const file = new Uint8Array(head.length + dataBytes);
  file.set(head);
  let at = head.length;
  for (const [name, tensor] of order) {
    const { values } = tensor;
    const wanted = arrays[tensor.dtype ?? "F32"];
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
