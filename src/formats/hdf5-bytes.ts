import { DamagedFile } from "../tensor/errors.ts";

/** A file may be looked at this many times over before it is taken for one that leads in circles, */
const MOST_LOOKS = 64;
/** but of a long one most bytes are weights: they are read a few times. */
const MOST_READS = 4;
const LONG = 2 ** 20;

/** The bytes of an HDF5 file, read by offset; whatever lies outside the file, or leads in circles, is refused. */
export class Hdf5Bytes {
  readonly #bytes: Buffer;
  readonly #where: string;
  #left: number;

  constructor(bytes: Buffer, where: string) {
    this.#bytes = bytes;
    this.#where = where;
    this.#left = MOST_LOOKS * (Math.min(bytes.length, LONG) + 4096) + MOST_READS * bytes.length;
  }

  get length(): number {
    return this.#bytes.length;
  }

  refuse(problem: string): DamagedFile {
    return new DamagedFile(`${this.#where}: no HDF5 file that can be read: ${problem}`);
  }

  /** `length` bytes from `at` on. */
  slice(at: number, length: number): Buffer {
    if (!(at >= 0 && length >= 0 && at + length <= this.#bytes.length)) {
      throw this.refuse(
        `it refers to byte ${at + length}, but has ${this.#bytes.length}: is it cut off or damaged?`,
      );
    }
    this.#left -= length + 1;
    if (this.#left < 0) throw this.refuse("its parts lead in circles");
    return this.#bytes.subarray(at, at + length);
  }

  /** A number of 1, 2, 4 or 8 bytes. */
  uint(at: number, bytes: number): number {
    const piece = this.slice(at, bytes);
    return bytes === 8 ? Number(piece.readBigUInt64LE()) : piece.readUIntLE(0, bytes);
  }

  expectSignature(at: number, signature: string, what: string): void {
    if (this.slice(at, signature.length).toString("latin1") !== signature) {
      throw this.refuse(`byte ${at} does not begin ${what}`);
    }
  }

  /** Text up to the first zero byte. */
  name(at: number, end: number): string {
    const piece = this.slice(at, Math.max(0, Math.min(end, at + LONGEST_NAME) - at));
    const zero = piece.indexOf(0);
    if (zero < 0) throw this.refuse(`a name at byte ${at} has no end`);
    return piece.toString("utf8", 0, zero);
  }
}

const LONGEST_NAME = 4096;

/** What the format puts where there is no address. */
export const NOWHERE = 2 ** 64;

/** Up to the next multiple of 8. */
export const aligned = (length: number): number => Math.ceil(length / 8) * 8;
