/**
 * Random numbers that depend on their seed parts and on nothing else: Threefry-2x32-20 in counter mode
 * (Salmon et al., SC 2011), the generator JAX uses. Integer arithmetic throughout, so every platform gives the
 * same bits; `normal` adds one logarithm, which V8 computes in software.
 */
export class Random {
  readonly #key: readonly [number, number];
  #counter = 0;
  #spare = 0;
  #hasSpare = false;
  #spareNormal = Number.NaN;
  readonly #block: [number, number] = [0, 0];

  /** @param seedParts anything that names the stream: `new Random(seed, "weights", "layer1.0.conv1")`. */
  constructor(...seedParts: readonly SeedPart[]) {
    this.#key = hashKey(seedParts);
  }

  /** An integer, uniform over 0 … 2³² − 1. */
  uint32(): number {
    if (this.#hasSpare) {
      this.#hasSpare = false;
      return this.#spare;
    }
    const block = this.#block;
    const counter = this.#counter++;
    threefry2x32(this.#key[0], this.#key[1], counter >>> 0, (counter / 0x1_0000_0000) >>> 0, block);
    this.#spare = block[1];
    this.#hasSpare = true;
    return block[0];
  }

  /** A number, uniform over [0,1) in steps of 2⁻³². */
  next(): number {
    return this.uint32() / 0x1_0000_0000;
  }

  /** A number, uniform over [low, high). */
  uniform(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  /** A number of the standard normal distribution (Marsaglia's polar method). */
  normal(): number {
    if (!Number.isNaN(this.#spareNormal)) {
      const value = this.#spareNormal;
      this.#spareNormal = Number.NaN;
      return value;
    }
    let u: number;
    let v: number;
    let s: number;
    do {
      u = 2 * this.next() - 1;
      v = 2 * this.next() - 1;
      s = u * u + v * v;
    } while (s >= 1 || s === 0);
    const scale = Math.sqrt((-2 * Math.log(s)) / s);
    this.#spareNormal = v * scale;
    return u * scale;
  }

  /** An integer, uniform over 0 … n − 1 without bias; n from 1 to 2³². Throws RangeError for any other n. */
  int(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 0x1_0000_0000)
      throw new RangeError(`int(n): n is 1 to 2^32, got ${n}`);
    const limit = 0x1_0000_0000 - (0x1_0000_0000 % n);
    let value = this.uint32();
    while (value >= limit) value = this.uint32();
    return value % n;
  }

  /** Puts the values in random order, in place (Fisher and Yates), and returns the same array. */
  shuffle(values: Uint32Array): Uint32Array {
    for (let i = values.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const value = values[i];
      values[i] = values[j];
      values[j] = value;
    }
    return values;
  }
}

export type SeedPart = string | number;

/** An unsigned 32-bit integer that depends on every part and on their order; 1 and "1" differ. */
export function hashSeed(...parts: readonly SeedPart[]): number {
  return hashKey(parts)[0];
}

const FLOAT_BITS = new DataView(new ArrayBuffer(8));

/** Parts to a 64-bit key, by chaining the cipher: each word of a part is encrypted under the key so far. */
function hashKey(parts: readonly SeedPart[]): [number, number] {
  const key: [number, number] = [0x41_74_65_6e, parts.length];
  for (const part of parts) {
    if (typeof part === "number") {
      FLOAT_BITS.setFloat64(0, part === 0 ? 0 : part);
      absorb(key, FLOAT_BITS.getUint32(0), FLOAT_BITS.getUint32(4));
    } else {
      // A tag no number has: the bits of a negative NaN, with the length beside it.
      absorb(key, 0xffff_fff0, part.length);
      for (let i = 0; i < part.length; i += 2) absorb(key, part.charCodeAt(i), part.charCodeAt(i + 1) | 0);
    }
  }
  return key;
}

function absorb(key: [number, number], high: number, low: number): void {
  threefry2x32(key[0], key[1], high >>> 0, low >>> 0, key);
}

/** Threefry-2x32 with 20 rounds: encrypts (x0, x1) under the key (k0, k1) into `out`; all words unsigned 32-bit. */
export function threefry2x32(k0: number, k1: number, x0: number, x1: number, out: [number, number]): void {
  let k2 = 0x1bd1_1bda ^ k0 ^ k1;
  let a = (x0 + k0) | 0;
  let b = (x1 + k1) | 0;
  for (let group = 1; group <= 5; group++) {
    const odd = (group & 1) === 1;
    a = (a + b) | 0;
    b = rotate(b, odd ? 13 : 17) ^ a;
    a = (a + b) | 0;
    b = rotate(b, odd ? 15 : 29) ^ a;
    a = (a + b) | 0;
    b = rotate(b, odd ? 26 : 16) ^ a;
    a = (a + b) | 0;
    b = rotate(b, odd ? 6 : 24) ^ a;
    const first = k0;
    k0 = k1;
    k1 = k2;
    k2 = first;
    a = (a + k0) | 0;
    b = (b + k1 + group) | 0;
  }
  out[0] = a >>> 0;
  out[1] = b >>> 0;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
