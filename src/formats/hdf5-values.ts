import { type Shape, sizeOf } from "../tensor/tensor.ts";
import type { Hdf5Bytes } from "./hdf5-bytes.ts";

/** Extents of a dataset or attribute; a scalar has none. */
export function readShape(file: Hdf5Bytes, at: number): Shape {
  const [version, rank] = file.slice(at, 2);
  if (version !== 1 && version !== 2) throw file.refuse(`dataspace of version ${version}`);
  if (rank > 32) throw file.refuse(`dataspace of ${rank} dimensions`);
  if (version === 2 && file.uint(at + 3, 1) === 2) return [0]; // null: no value at all
  const first = at + (version === 1 ? 8 : 4);
  return Array.from({ length: rank }, (_, k) => file.uint(first + 8 * k, 8));
}

/** Type of an element, as far as Keras' files need it. */
export interface ElementType {
  readonly kind: "integer" | "float" | "text" | "reference to text" | "other";
  readonly bytes: number;
  readonly bigEndian: boolean;
  readonly signed: boolean;
  /** For people, as NumPy says it. */
  readonly name: string;
}

const KINDS: Readonly<Record<number, ElementType["kind"]>> = { 0: "integer", 1: "float", 3: "text" };
const VARIABLE_LENGTH = 9;

export function readType(file: Hdf5Bytes, at: number): ElementType {
  const [first, bits] = file.slice(at, 2);
  const bytes = file.uint(at + 4, 4);
  const vlenText = (first & 15) === VARIABLE_LENGTH && (bits & 15) === 1;
  const kind = vlenText ? "reference to text" : (KINDS[first & 15] ?? "other");
  const signed = (bits & 8) !== 0;
  const letters = { integer: signed ? "int" : "uint", float: "float", text: "text" };
  const letter = kind in letters ? letters[kind as keyof typeof letters] : kind;
  const name = kind === "integer" || kind === "float" ? `${letter}${8 * bytes}` : letter;
  return { kind, bytes, bigEndian: (bits & 1) === 1 && kind !== "text", signed, name };
}

/** Texts of an attribute whose values begin at `at`; undefined when it holds something else. */
export function readTexts(
  file: Hdf5Bytes,
  at: number,
  { kind, bytes }: ElementType,
  shape: Shape,
): string[] | undefined {
  const count = sizeOf(shape);
  if (count === 0) return [];
  const read = { text: fixedText, "reference to text": heapText }[kind as string];
  if (!read) return undefined;
  if (bytes === 0 || (kind === "reference to text" && bytes !== REFERENCE)) {
    throw file.refuse(`an attribute's texts have ${bytes} bytes each`);
  }
  file.slice(at, count * bytes); // so that there are no more of them than the file has room for
  return Array.from({ length: count }, (_, k) => read(file, at + k * bytes, bytes));
}

function fixedText(file: Hdf5Bytes, at: number, bytes: number): string {
  const piece = file.slice(at, bytes);
  const zero = piece.indexOf(0);
  return piece.toString("utf8", 0, zero < 0 ? bytes : zero);
}

/** Bytes of a length, the address of a collection and the number of the object in it. */
const REFERENCE = 16;

/** Length, address of a collection, number of the object in it. */
function heapText(file: Hdf5Bytes, at: number): string {
  const [length, collection, index] = [file.uint(at, 4), file.uint(at + 4, 8), file.uint(at + 12, 4)];
  if (length === 0) return "";
  file.expectSignature(collection, "GCOL", "a heap of texts");
  const end = collection + file.uint(collection + 8, 8);
  for (let object = collection + 16; object + 16 <= end; ) {
    const [number, bytes] = [file.uint(object, 2), file.uint(object + 8, 8)];
    if (number === index) return file.slice(object + 16, Math.min(length, bytes)).toString("utf8");
    if (number === 0) break; // free space: nothing comes after it
    object += 16 + Math.ceil(bytes / 8) * 8;
  }
  throw file.refuse(`a text at byte ${at} is not where it should be`);
}
