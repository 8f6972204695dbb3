import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import h5wasm from "h5wasm/node";
import { afterAll, expect, test } from "vitest";
import { parseHdf5 } from "../../../src/formats/hdf5.ts";
import { writeHdf5 } from "../../../src/formats/hdf5-write.ts";

const folder = mkdtempSync(join(tmpdir(), "atento-hdf5-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("texts too long for one attribute are cut as Keras cuts them, and read as one", async () => {
  const path = join(folder, "long.h5");
  // 2,000 of 100 bytes: 200,000, and 64,512 find room in a header
  const names = Array.from({ length: 2000 }, (_, k) => `layer_${k}`.padEnd(100, "x"));
  const few = names.slice(0, 645);
  await writeHdf5(path, { attributes: { layer_names: names, fits: few, backend: "tensorflow" } });
  const group = parseHdf5(readFileSync(path), path);
  expect(group.texts("layer_names")).toEqual(names);
  expect(group.texts("fits")).toEqual(few);

  await h5wasm.ready;
  const file = new h5wasm.File(path, "r");
  const pieces = Object.entries(file.attrs).filter(([name]) => name.startsWith("layer_names"));
  // numpy.array_split of 2,000 into the fewest pieces of at most 64,512 bytes: 4 of 500
  expect(pieces.map(([name, { shape }]) => [name, shape])).toEqual(
    [0, 1, 2, 3].map((k) => [`layer_names${k}`, [500]]),
  );
  expect(pieces.flatMap(([, { value }]) => value)).toEqual(names);
  expect(file.attrs.fits.shape).toEqual([645]);
  file.close();
});
