import { mkdir, open, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadDataset } from "../../../src/data/load.ts";
import { parseBatch, parseClassNames } from "../../../src/data/sources/cifar10.ts";
import { allocateSplit } from "../../../src/data/split.ts";
import { UserError } from "../../../src/tensor/errors.ts";
import { type Member, makeTar, temporaryFolder, writeTree } from "./helpers.ts";

const NAMES = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
const RECORD = 3073;

const BATCHES = [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`).concat("test_batch.bin");

/** A record of one label, one red, one green, and in blue the row. */
function record(label: number, red: number, green: number): Buffer {
  const bytes = Buffer.alloc(RECORD, label);
  bytes.fill(red, 1, 1025).fill(green, 1025, 2049);
  for (let y = 0; y < 32; y++) bytes.fill(y, 2049 + 32 * y, 2081 + 32 * y);
  return bytes;
}

/** All six files, of their real length, empty (black images of label 0) but for the records given: file, place, bytes. */
async function writeBatches(folder: string, records: [string, number, Buffer][] = []): Promise<void> {
  await writeTree(folder, { "batches.meta.txt": NAMES });
  for (const name of BATCHES) {
    const file = await open(join(folder, name), "w");
    await file.truncate(10_000 * RECORD);
    for (const [of, at, bytes] of records) if (of === name) await file.write(bytes, 0, RECORD, at * RECORD);
    await file.close();
  }
}

describe("CIFAR-10, binary version", () => {
  test("from a folder and from an archive, the same", async () => {
    const root = await temporaryFolder();
    const folder = join(root, "cifar-10-batches-bin");
    await writeBatches(folder, [
      ["data_batch_4.bin", 2, record(6, 4, 200)],
      ["test_batch.bin", 9_999, record(9, 5, 100)],
    ]);
    const dataset = await loadDataset({ source: "cifar10", path: root }, { cache: join(root, "none") });
    expect(dataset).toMatchObject({ name: "cifar10", height: 32, width: 32 });
    expect(dataset.classes.slice(0, 3)).toEqual(["airplane", "automobile", "bird"]);
    expect([dataset.train.count, dataset.test.count]).toEqual([50_000, 10_000]);
    // Image 2 of batch 4 is image 30,002; its pixel in row 7, column 5 stands at (30,002·32 + 7)·32 + 5.
    const at = 3 * ((30_002 * 32 + 7) * 32 + 5);
    expect([...dataset.train.images.subarray(at, at + 3)]).toEqual([4, 200, 7]);
    expect(dataset.train.labels[30_002]).toBe(6);
    expect([...dataset.test.images.subarray(-3)]).toEqual([5, 100, 31]);
    expect(dataset.test.labels[9_999]).toBe(9);
    expect(dataset.train.labels.reduce((a, b) => a + b)).toBe(6);

    const members: Member[] = [{ path: "cifar-10-batches-bin/", type: "5" }];
    for (const name of ["batches.meta.txt", ...BATCHES]) {
      members.push({ path: `cifar-10-batches-bin/${name}`, bytes: await readFile(join(folder, name)) });
    }
    const archive = join(root, "mine.tar");
    await writeFile(archive, makeTar(members));
    const again = await loadDataset({ source: "cifar10", path: archive });
    expect(again.fingerprint).toBe(dataset.fingerprint);
  });

  test("found in the cache", async () => {
    const cache = await temporaryFolder();
    await writeTree(cache, {
      "cifar-10-batches-bin/data_batch_1.bin": "",
      "cifar-10-batches-bin/batches.meta.txt": NAMES,
    });
    await expect(loadDataset({ source: "cifar10" }, { cache })).rejects.toThrow(
      "data_batch_1.bin: expected 30,730,000 bytes, has 0: unpack or download the archive again",
    );
    const [empty, notes] = [join(cache, "empty"), [] as string[]];
    await mkdir(empty);
    const loading = loadDataset(
      { source: "cifar10", path: empty },
      { cache, onNote: (note) => notes.push(note) },
    );
    await expect(loading).rejects.toThrow("data_batch_1.bin");
    expect(notes[0]).toContain("has neither data_batch_1.bin nor cifar-10-binary.tar.gz: looking in");
  });

  test("refused by name", async () => {
    const root = await temporaryFolder();
    const load = () => loadDataset({ source: "cifar10", path: root });
    await writeBatches(root);
    await truncate(join(root, "data_batch_3.bin"), 12_345);
    await expect(load()).rejects.toThrow("data_batch_3.bin: expected 30,730,000 bytes, has 12,345");

    await writeBatches(root, [["data_batch_3.bin", 3, record(77, 0, 0)]]);
    await expect(load()).rejects.toThrow("data_batch_3.bin: record 3 has label 77, expected 0 to 9");

    await writeTree(root, { "batches.meta.txt": "cat\ndog\n" });
    await expect(load()).rejects.toThrow("batches.meta.txt: expected ten class names, has 2");
    await expect(loadDataset({ source: "cifar10", path: "/no/such" })).rejects.toThrow(
      "no such file or folder",
    );

    await rm(join(root, "data_batch_1.bin"));
    await mkdir(join(root, "data_batch_1.bin"));
    await writeTree(root, { "batches.meta.txt": NAMES });
    await expect(load()).rejects.toThrow("data_batch_1.bin: cannot be read (EISDIR");

    const archive = join(root, "python.tar");
    await writeFile(
      archive,
      makeTar([{ path: "cifar-10-batches-py/data_batch_1", bytes: Buffer.alloc(10) }]),
    );
    await expect(loadDataset({ source: "cifar10", path: archive })).rejects.toThrow(
      "expected the binary version",
    );

    const partial = join(root, "partial.tar");
    const some: Member[] = [
      { path: "batches.meta.txt", bytes: Buffer.from(NAMES) },
      { path: "data_batch_1.bin", bytes: Buffer.alloc(10_000 * RECORD) },
    ];
    await writeFile(partial, makeTar(some));
    await expect(loadDataset({ source: "cifar10", path: partial })).rejects.toThrow(
      "data_batch_2.bin, data_batch_3.bin, data_batch_4.bin, data_batch_5.bin, test_batch.bin missing",
    );
    await truncate(partial, 20_000_000);
    await expect(loadDataset({ source: "cifar10", path: partial })).rejects.toThrow(
      "not a whole tar archive",
    );
  });

  test("any bytes are read or refused, never anything else", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 2 * RECORD, maxLength: 2 * RECORD }),
      fc.uint8Array({ maxLength: 3 * RECORD }),
    );
    fc.assert(
      fc.property(bytes, fc.boolean(), (content, valid) => {
        if (valid) for (let at = 0; at < content.length; at += RECORD) content[at] %= 10;
        const split = allocateSplit(2, 32, 32);
        try {
          parseBatch("data_batch_1.bin", content, split, 0, 2);
          expect([split.labels[0], split.labels[1]]).toEqual([content[0], content[RECORD]]);
          expect(split.images[3 * 1023 + 2]).toBe(content[3072]);
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
          expect(content.length !== 2 * RECORD || content[0] > 9 || content[RECORD] > 9).toBe(true);
        }
      }),
      { numRuns: 100 },
    );
    fc.assert(
      fc.property(fc.string(), (content) => {
        expect(() => parseClassNames(content)).toThrow(UserError);
      }),
    );
  });
});
