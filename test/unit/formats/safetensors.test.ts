import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  floatsOf,
  type NewTensor,
  readSafetensors,
  valuesOf,
  writeSafetensors,
} from "../../../src/formats/safetensors.ts";
import { UserError } from "../../../src/tensor/errors.ts";
import { fileOf, golden } from "./support.ts";

/** Fifteen dtypes and shapes, written by Python's safetensors 0.8.0. */
const fromPython = Buffer.from(
  `
  sAMAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJ3aG8iOiJweXRob24iLCLDvG7DryI6IlwicXVvdGVkXCIgXFwgYmFjayJ9LCJ1
  NjQiOnsiZHR5cGUiOiJVNjQiLCJzaGFwZSI6WzFdLCJkYXRhX29mZnNldHMiOlswLDhdfSwiaTY0Ijp7ImR0eXBlIjoiSTY0
  Iiwic2hhcGUiOlszXSwiZGF0YV9vZmZzZXRzIjpbOCwzMl19LCJkb3VibGUiOnsiZHR5cGUiOiJGNjQiLCJzaGFwZSI6WzJd
  LCJkYXRhX29mZnNldHMiOlszMiw0OF19LCJlbXB0eSI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMCwzXSwiZGF0YV9vZmZz
  ZXRzIjpbNDgsNDhdfSwic2NhbGFyIjp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOltdLCJkYXRhX29mZnNldHMiOls0OCw1Ml19
  LCJzaW5nbGUiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzNdLCJkYXRhX29mZnNldHMiOls1Miw2NF19LCJ1MzIiOnsiZHR5
  cGUiOiJVMzIiLCJzaGFwZSI6WzFdLCJkYXRhX29mZnNldHMiOls2NCw2OF19LCJpMzIiOnsiZHR5cGUiOiJJMzIiLCJzaGFw
  ZSI6WzJdLCJkYXRhX29mZnNldHMiOls2OCw3Nl19LCJiZmxvYXQiOnsiZHR5cGUiOiJCRjE2Iiwic2hhcGUiOlsyLDJdLCJk
  YXRhX29mZnNldHMiOls3Niw4NF19LCJoYWxmIjp7ImR0eXBlIjoiRjE2Iiwic2hhcGUiOls4XSwiZGF0YV9vZmZzZXRzIjpb
  ODQsMTAwXX0sInUxNiI6eyJkdHlwZSI6IlUxNiIsInNoYXBlIjpbMV0sImRhdGFfb2Zmc2V0cyI6WzEwMCwxMDJdfSwiaTE2
  Ijp7ImR0eXBlIjoiSTE2Iiwic2hhcGUiOlsyXSwiZGF0YV9vZmZzZXRzIjpbMTAyLDEwNl19LCJpOCI6eyJkdHlwZSI6Ikk4
  Iiwic2hhcGUiOlsyXSwiZGF0YV9vZmZzZXRzIjpbMTA2LDEwOF19LCJ1OCI6eyJkdHlwZSI6IlU4Iiwic2hhcGUiOlszXSwi
  ZGF0YV9vZmZzZXRzIjpbMTA4LDExMV19LCJib29sIjp7ImR0eXBlIjoiQk9PTCIsInNoYXBlIjpbM10sImRhdGFfb2Zmc2V0
  cyI6WzExMSwxMTRdfX0gIAAAAAAAAACAAQAAAAAAAAD+/////////wAAAAAAAABAmpmZmZmZuT+cdQCIPOQ3/gAAIEDNzMw9
  5rFhfwAAwL//////BwAAAAAAAICAP0nASnEAAAAAAIAAPADB/3sBAAB8AH7//9T+LAGAfwD/CQEAAQ==
`,
  "base64",
);

describe("reading", () => {
  const { tensors, metadata } = readSafetensors(fromPython);
  const values = (name: string) => Array.from(valuesOf(tensors.get(name)!) as ArrayLike<number | bigint>);

  it("gives the values Python wrote, in every dtype", () => {
    expect(values("half")).toEqual([0, -0, 1, -2.5, 65504, 2 ** -24, Number.POSITIVE_INFINITY, Number.NaN]);
    expect(values("bfloat")).toEqual([1, -3.140625, 1.0002555517425873e30, 0]);
    expect(values("double")).toEqual([0.1, -1e300]);
    expect(values("single")).toEqual([Math.fround(0.1), Math.fround(3e38), -1.5]);
    expect(values("i64")).toEqual([1n, -2n, 2n ** 62n]);
    expect(values("u64")).toEqual([2n ** 63n]);
    expect(values("i32")).toEqual([7, -(2 ** 31)]);
    expect(values("u32")).toEqual([2 ** 32 - 1]);
    expect(values("i16")).toEqual([-300, 300]);
    expect(values("u16")).toEqual([65535]);
    expect(values("i8")).toEqual([-128, 127]);
    expect(values("u8")).toEqual([0, 255, 9]);
    expect(values("bool")).toEqual([1, 0, 1]);
    expect(tensors.get("bfloat")!.shape).toEqual([2, 2]);
    expect([tensors.get("scalar")!.shape, values("scalar")]).toEqual([[], [2.5]]);
    expect([tensors.get("empty")!.shape, values("empty")]).toEqual([[0, 3], []]);
  });

  it("gives every dtype as float32", () => {
    expect(floatsOf(tensors.get("i64")!)).toEqual(Float32Array.of(1, -2, 2 ** 62));
    expect(floatsOf(tensors.get("double")!)).toEqual(Float32Array.of(0.1, Number.NEGATIVE_INFINITY));
    expect(floatsOf(tensors.get("half")!)[3]).toBe(-2.5);
  });

  it("gives the metadata", () => {
    expect(metadata).toEqual({ who: "python", ünï: '"quoted" \\ back' });
  });

  it("does not hand out the file's own memory", () => {
    const copy = valuesOf(tensors.get("single")!);
    copy[0] = 7;
    expect(values("single")[0]).toBe(Math.fround(0.1));
  });
});

describe.skipIf(!existsSync(golden))("the parity cases", () => {
  it("hold what Python reads in them", () => {
    const images = readSafetensors(readFileSync(join(golden, "cbam/batch.safetensors"))).tensors.get(
      "images",
    )!;
    expect(images.shape).toEqual([8, 3, 32, 32]);
    const values = floatsOf(images);
    expect([values[0], values[1], values.at(-1)]).toEqual([
      1.4907138347625732, -0.1124860942363739, -0.785173237323761,
    ]);
    const labels = readSafetensors(readFileSync(join(golden, "cbam/batch.safetensors"))).tensors.get(
      "labels",
    )!;
    expect([...valuesOf(labels)]).toEqual([3n, 7n, 5n, 5n, 3n, 2n, 5n, 8n]);
  });

  const cases = existsSync(golden)
    ? readdirSync(golden).filter((name) => existsSync(join(golden, name, "model.safetensors")))
    : [];
  it.each(cases)("%s is written again byte for byte", (name) => {
    const bytes = readFileSync(join(golden, name, "model.safetensors"));
    const { tensors, metadata } = readSafetensors(bytes);
    const again = new Map(
      [...tensors].map(([key, tensor]) => [key, { shape: tensor.shape, values: floatsOf(tensor) }]),
    );
    expect(Buffer.compare(writeSafetensors(again, metadata), bytes)).toBe(0);
  });
});

describe("refusals name the tensor and what is wrong", () => {
  const f32 = (shape: number[], begin: number, end: number) => ({
    dtype: "F32",
    shape,
    data_offsets: [begin, end],
  });
  const bytes = (count: number) => new Uint8Array(count);

  const cases: [string, Uint8Array, RegExp][] = [
    ["an empty file", bytes(0), /0 bytes/],
    [
      "a header longer than the file",
      fileOf("{}").subarray(0, 9),
      /header of 2 bytes, but the file ends after 1/,
    ],
    [
      "a header over the limit",
      Uint8Array.of(129, 150, 152, 0, 0, 0, 0, 0),
      /header of 10000001 bytes, at most 10000000/,
    ],
    ["a header of 2⁶³ bytes", Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 128), /at most 10000000/],
    ["no JSON", fileOf("{nothing}"), /header is not JSON/],
    ["no UTF-8", fileOf("{}").with(9, 0xff), /header is not JSON/],
    ["a list", fileOf("[]"), /not a JSON object/],
    ["leading spaces", fileOf("  {}"), /not a JSON object/],
    ["a number as metadata", fileOf({ __metadata__: { epoch: 3 } }), /__metadata__ must hold strings/],
    ["an entry that is no object", fileOf({ w: 3 }), /tensor w: its entry is not an object/],
    [
      "an unknown dtype",
      fileOf({ w: { ...f32([1], 0, 4), dtype: "F8_E4M3" } }, bytes(4)),
      /tensor w: dtype "F8_E4M3"/,
    ],
    [
      "an inherited name as dtype",
      fileOf({ w: { ...f32([1], 0, 4), dtype: "toString" } }, bytes(4)),
      /tensor w: dtype/,
    ],
    [
      "an unknown field",
      fileOf({ w: { ...f32([1], 0, 4), stride: 1 } }, bytes(4)),
      /tensor w: unknown field stride/,
    ],
    ["a negative length", fileOf({ w: f32([-1], 0, 4) }, bytes(4)), /tensor w: shape \[-1\]/],
    ["a broken length", fileOf({ w: f32([0.5], 0, 2) }, bytes(2)), /tensor w: shape \[0.5\]/],
    [
      "a missing shape",
      fileOf({ w: { dtype: "F32", data_offsets: [0, 4] } }, bytes(4)),
      /tensor w: shape undefined/,
    ],
    [
      "one offset",
      fileOf({ w: { ...f32([1], 0, 4), data_offsets: [0] } }, bytes(4)),
      /tensor w: data_offsets \[0\]/,
    ],
    [
      "offsets the wrong way round",
      fileOf({ w: f32([1], 4, 0) }, bytes(4)),
      /tensor w: data_offsets \[4,0\]/,
    ],
    [
      "a tensor beyond the end",
      fileOf({ w: f32([2], 0, 8) }, bytes(4)),
      /tensor w: ends at byte 8.* holds 4/,
    ],
    [
      "too few bytes for the shape",
      fileOf({ w: f32([2], 0, 4) }, bytes(4)),
      /tensor w: F32 \[2\] takes 8 bytes.* 4/,
    ],
    ["a shape beyond all numbers", fileOf({ w: f32([2 ** 40, 2 ** 40], 0, 4) }, bytes(4)), /tensor w: F32/],
    [
      "an overlap",
      fileOf({ a: f32([2], 0, 8), b: f32([1], 4, 8) }, bytes(8)),
      /tensor b: begins at byte 4, inside/,
    ],
    ["a hole", fileOf({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, bytes(12)), /tensor b: bytes 4 to 8/],
    ["a hole in front", fileOf({ a: f32([1], 4, 8) }, bytes(8)), /tensor a: bytes 0 to 4/],
    ["bytes left over", fileOf({ a: f32([1], 0, 4) }, bytes(7)), /3 bytes after the last tensor/],
    [
      "a name that stands twice",
      fileOf(`{"a":${JSON.stringify(f32([1], 0, 4))},"\\u0061":${JSON.stringify(f32([1], 0, 4))}}`, bytes(4)),
      /tensor a: the name stands twice/,
    ],
  ];
  it.each(cases)("%s", (_, file, message) => {
    expect(() => readSafetensors(file, "weights/here.safetensors")).toThrow(UserError);
    expect(() => readSafetensors(file, "weights/here.safetensors")).toThrow(message);
    expect(() => readSafetensors(file, "weights/here.safetensors")).toThrow(/^weights\/here.safetensors: /);
  });

  it("accept what is only unusual: no tensors, spaces after the header, names that objects inherit", () => {
    expect(readSafetensors(fileOf("{}")).tensors.size).toBe(0);
    expect(readSafetensors(fileOf("{}      ")).tensors.size).toBe(0);
    const odd = `{"__proto__":${JSON.stringify(f32([1], 0, 4))},"constructor":${JSON.stringify(f32([0], 4, 4))}}`;
    expect([...readSafetensors(fileOf(odd, bytes(4))).tensors.keys()]).toEqual(["__proto__", "constructor"]);
  });
});

describe("writing", () => {
  const tensors = new Map<string, NewTensor>([
    ["b", { shape: [2], values: Float32Array.of(1.5, -2) }],
    ["a", { shape: [1, 1], values: Float32Array.of(Number.NaN) }],
    ["z", { shape: [2], dtype: "I64", values: BigInt64Array.of(5n, -1n) }],
    ["none", { shape: [0, 4], values: new Float32Array(0) }],
  ]);

  it("is read again with the same names, shapes, values and metadata", () => {
    const { tensors: read, metadata } = readSafetensors(
      writeSafetensors(tensors, { epoch: "3", note: 'a\n"b"' }),
    );
    expect(metadata).toEqual({ epoch: "3", note: 'a\n"b"' });
    expect([...read].map(([name, x]) => [name, x.dtype, x.shape, valuesOf(x)])).toEqual([
      ["z", "I64", [2], BigInt64Array.of(5n, -1n)],
      ["a", "F32", [1, 1], Float32Array.of(Number.NaN)],
      ["b", "F32", [2], Float32Array.of(1.5, -2)],
      ["none", "F32", [0, 4], new Float32Array(0)],
    ]);
  });

  it("aligns the data to 8 bytes and does not depend on the order of the tensors", () => {
    const bytes = writeSafetensors(tensors, { k: "v" });
    expect(new DataView(bytes.buffer).getUint32(0, true) % 8).toBe(0);
    expect(writeSafetensors(new Map([...tensors].reverse()), { k: "v" })).toEqual(bytes);
  });

  it("takes a part of a larger array as it is", () => {
    const part = Float32Array.of(9, 1, 2, 9).subarray(1, 3);
    const { tensors: read } = readSafetensors(
      writeSafetensors(new Map([["w", { shape: [2], values: part }]])),
    );
    expect(floatsOf(read.get("w")!)).toEqual(Float32Array.of(1, 2));
  });

  it("refuses values that do not fit their shape", () => {
    const wrong = new Map([["w", { shape: [3], values: new Float32Array(2) }]]);
    expect(() => writeSafetensors(wrong)).toThrow(/^w: 2 values of Float32Array do not fit \[3\]/);
  });

  it("keeps any tensors and names", () => {
    const names = fc.uniqueArray(
      fc.string({ unit: "grapheme" }).filter((name) => name !== "__metadata__"),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(
        names,
        fc.array(fc.nat(5), { maxLength: 3 }),
        fc.dictionary(fc.string(), fc.string()),
        (keys, shape, notes) => {
          const size = shape.reduce((a, b) => a * b, 1);
          const made = new Map(
            keys.map((key, k) => [
              key,
              { shape, values: Float32Array.from({ length: size }, (_, i) => i / (k + 3)) },
            ]),
          );
          const { tensors: read, metadata } = readSafetensors(writeSafetensors(made, notes));
          expect({ ...metadata }).toEqual({ ...notes });
          expect(read.size).toBe(made.size);
          for (const [key, { values }] of made) expect(floatsOf(read.get(key)!)).toEqual(values);
        },
      ),
    );
  });
});

it("answers any damage with a UserError or with tensors that lie inside the file", () => {
  const damage = fc.array(fc.tuple(fc.nat(fromPython.length - 1), fc.nat(255)), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(damage, fc.nat(fromPython.length), (changes, cut) => {
      const file = Uint8Array.from(fromPython);
      for (const [at, value] of changes) file[at] = value;
      for (const bytes of [file, file.subarray(0, cut)]) {
        try {
          const { tensors } = readSafetensors(bytes);
          const total = [...tensors.values()].reduce((sum, x) => sum + x.bytes.length, 0);
          expect(total).toBeLessThan(bytes.length);
          for (const tensor of tensors.values()) valuesOf(tensor);
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      }
    }),
    { numRuns: 2000 },
  );
});
