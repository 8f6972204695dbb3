import type { Random } from "../random/random.ts";

const NUMBERS = [
  "0",
  "-1",
  "1e9",
  "4294967296",
  "9007199254740993",
  "1e400",
  "0.5",
  "NaN",
  "null",
  '"7"',
  "[]",
  "{}",
];
const BYTES = [0, 1, 0x20, 0x22, 0x2c, 0x2f, 0x3a, 0x5b, 0x5d, 0x7b, 0x7d, 0x7f, 0x80, 0xff];

type Change = (bytes: Buffer, random: Random, seeds: readonly Buffer[]) => Buffer;

const place = (bytes: Buffer, random: Random) => random.int(Math.max(1, bytes.length));

/** A piece of the bytes: where it begins, and how long it is. */
function piece(bytes: Buffer, random: Random): [number, number] {
  const at = place(bytes, random);
  const longest = Math.max(1, Math.min(bytes.length - at, random.int(8) === 0 ? bytes.length : 64));
  return [at, 1 + random.int(longest)];
}

function replace(bytes: Buffer, at: number, length: number, by: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), by, bytes.subarray(at + length)]);
}

const changes: readonly Change[] = [
  function flipBit(bytes, random) {
    const at = place(bytes, random);
    if (bytes.length > 0) bytes[at] ^= 1 << random.int(8);
    return bytes;
  },
  function setByte(bytes, random) {
    const at = place(bytes, random);
    if (bytes.length > 0) bytes[at] = random.int(2) ? BYTES[random.int(BYTES.length)] : random.int(256);
    return bytes;
  },
  function cutOff(bytes, random) {
    return bytes.subarray(0, place(bytes, random));
  },
  function remove(bytes, random) {
    const [at, length] = piece(bytes, random);
    return replace(bytes, at, length, Buffer.alloc(0));
  },
  function repeat(bytes, random) {
    const [at, length] = piece(bytes, random);
    const times = random.int(16) === 0 ? 64 : 1 + random.int(3);
    const copy = bytes.subarray(at, at + length);
    return replace(bytes, at, 0, Buffer.concat(Array.from({ length: times }, () => copy)));
  },
  function overwrite(bytes, random) {
    const [at, length] = piece(bytes, random);
    return replace(bytes, at, length, Buffer.alloc(length, BYTES[random.int(BYTES.length)]));
  },
  function move(bytes, random) {
    const [from, length] = piece(bytes, random);
    const moved = Buffer.from(bytes.subarray(from, from + length));
    const rest = replace(bytes, from, length, Buffer.alloc(0));
    return replace(rest, place(rest, random), 0, moved);
  },
  function splice(bytes, random, seeds) {
    const other = seeds[random.int(seeds.length)];
    const [from, length] = piece(other, random);
    const [at, out] = piece(bytes, random);
    return replace(bytes, at, out, other.subarray(from, from + length));
  },
  function otherNumber(bytes, random) {
    const text = bytes.toString("latin1");
    const start = place(bytes, random);
    const match = /-?\d+(\.\d+)?/.exec(text.slice(start, start + 4096));
    if (!match) return bytes;
    const number = random.int(3) === 0 ? String(random.int(2 ** 32)) : NUMBERS[random.int(NUMBERS.length)];
    return replace(bytes, start + match.index, match[0].length, Buffer.from(number));
  },
  function otherWord(bytes, random) {
    const text = bytes.toString("latin1");
    const words = (from: number) => /"[^"\n]{0,80}"|\b[a-z]{2,}\b/i.exec(text.slice(from, from + 4096));
    const [a, b] = [place(bytes, random), place(bytes, random)];
    const [here, there] = [words(a), words(b)];
    if (!here || !there) return bytes;
    return replace(bytes, a + here.index, here[0].length, Buffer.from(there[0], "latin1"));
  },
  function nest(bytes, random) {
    const [open, close] = random.int(2) ? ["[", "]"] : ["{a: ", "}"];
    const depth = random.int(8) === 0 ? 20_000 : 1 + random.int(20);
    const text = open.repeat(depth) + (random.int(2) ? close.repeat(depth) : "");
    return replace(bytes, place(bytes, random), 0, Buffer.from(text));
  },
];

/** One of the seeds with one to six changes; the same for the same random numbers. */
export function mutate(seeds: readonly Buffer[], random: Random): Buffer {
  let bytes: Buffer = Buffer.from(seeds[random.int(seeds.length)]);
  for (let left = 1 + random.int(6); left > 0; left--) {
    bytes = Buffer.from(changes[random.int(changes.length)](bytes, random, seeds));
  }
  return bytes;
}
