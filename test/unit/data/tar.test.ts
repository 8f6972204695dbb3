import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readTar } from "../../../src/data/tar.ts";
import { UserError } from "../../../src/tensor/errors.ts";
import { type Member, makeTar, temporaryFolder } from "./helpers.ts";

const text = (content: string) => Buffer.from(content);
const members: Member[] = [
  { path: "./", type: "5" },
  { path: "./cat/", type: "5" },
  { path: "./cat/1.txt", bytes: text("one") },
  { path: "cat/2.txt", bytes: text("two".repeat(1000)) },
  { path: "dog/empty.txt" },
];

async function read(bytes: Uint8Array, wants: (path: string) => boolean = () => true) {
  const path = join(await temporaryFolder(), "images.tar");
  await writeFile(path, bytes);
  const files: string[] = [];
  for await (const file of readTar(path, wants)) {
    files.push(
      `${file.path}${file.directory ? "/" : `=${file.bytes.toString().slice(0, 6)}:${file.bytes.length}`}`,
    );
  }
  return files;
}

describe("readTar", () => {
  const all = ["cat/", "cat/1.txt=one:3", "cat/2.txt=twotwo:3000", "dog/empty.txt=:0"];

  test("plain and gzipped", async () => {
    expect(await read(makeTar(members))).toEqual(all);
    expect(await read(gzipSync(makeTar(members)))).toEqual(all);
  });

  test("content of wanted files only", async () => {
    const files = await read(makeTar(members), (path) => path === "cat/1.txt");
    expect(files).toEqual(["cat/", "cat/1.txt=one:3", "cat/2.txt=:0", "dog/empty.txt=:0"]);
  });

  test.each<[Member, string]>([
    [{ path: "../evil.jpg", bytes: text("x") }, 'member "../evil.jpg" points out of the archive (..)'],
    [{ path: "cat/../../evil.jpg" }, 'member "cat/../../evil.jpg" points out of the archive (..)'],
    [{ path: "cat\\..\\evil.jpg" }, "points out of the archive (..)"],
    [{ path: "/etc/passwd", bytes: text("x") }, 'member "/etc/passwd" has an absolute path'],
    [{ path: "C:\\evil.jpg" }, "has an absolute path"],
    [{ path: "cat/3.jpg", type: "2", link: "/etc/passwd" }, 'member "cat/3.jpg" is a SymbolicLink'],
    [{ path: "cat/3.jpg", type: "1", link: "cat/1.txt" }, 'member "cat/3.jpg" is a Link'],
    [{ path: "cat/null", type: "3" }, 'member "cat/null" is a CharacterDevice'],
  ])("refuses %j by name", async (member, message) => {
    const reading = read(makeTar([...members, member]));
    await expect(reading).rejects.toThrow(UserError);
    await expect(reading).rejects.toThrow(message);
  });

  test("says that an archive is cut off, empty or none", async () => {
    const whole = makeTar(members);
    for (const bytes of [
      whole.subarray(0, 2500),
      gzipSync(whole).subarray(0, -20),
      new Uint8Array(0),
      text("hello"),
      text("<html>not found</html>".repeat(100)),
    ]) {
      const reading = read(bytes);
      await expect(reading).rejects.toThrow(UserError);
      await expect(reading).rejects.toThrow("not a whole tar archive");
    }
  });

  test("damaged archives are read or refused, never anything else", async () => {
    const plain = makeTar(members);
    const zipped = gzipSync(plain);
    const damage = fc.record({
      zip: fc.boolean(),
      changes: fc.array(fc.tuple(fc.nat(10_000), fc.integer({ min: 1, max: 255 })), { maxLength: 4 }),
      cut: fc.option(fc.nat(10_000)),
    });
    await fc.assert(
      fc.asyncProperty(damage, async ({ zip, changes, cut }) => {
        const bytes = Buffer.from(zip ? zipped : plain);
        for (const [at, flip] of changes) bytes[at % bytes.length] ^= flip;
        try {
          await read(cut === null ? bytes : bytes.subarray(0, cut % bytes.length));
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      }),
      { numRuns: 300 },
    );
  });
});
