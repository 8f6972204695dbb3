import type { Shape } from "../../tensor/tensor.ts";

/** A NumPy file, version 1.0, of float32 values in logical order. */
export function npy(values: Float32Array, shape: Shape): Uint8Array {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const description = `{'descr': '<f4', 'fortran_order': False, 'shape': ${tuple}, }`;
  // ten bytes before it; the values begin at a multiple of 64
  const length = Math.ceil((10 + description.length + 1) / 64) * 64 - 10;
  const header = `${description.padEnd(length - 1)}\n`;
  const out = Buffer.alloc(10 + length + 4 * values.length);
  out.write("\x93NUMPY\x01\x00", 0, "latin1");
  out.writeUInt16LE(length, 8);
  out.write(header, 10, "latin1");
  values.forEach((value, i) => {
    out.writeFloatLE(value, 10 + length + 4 * i);
  });
  return out;
}
