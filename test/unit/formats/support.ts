import { fileURLToPath } from "node:url";

/** Parity cases beside the repository, written by Python; absent on machines that only have the repository. */
export const golden = fileURLToPath(new URL("../../../../shared/golden/", import.meta.url));

/** A safetensors file of any header and data. */
export function fileOf(header: string | object, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return new Uint8Array(Buffer.concat([length, text, data]));
}
