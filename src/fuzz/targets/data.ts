import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { Header } from "tar";
import { decodePhotograph } from "../../cam/images.ts";
import { decodeImages } from "../../data/decode.ts";
import type { ImageFiles } from "../../data/imageFiles.ts";
import { Pack, readPack } from "../../data/pack.ts";
import { parseBatch, parseClassNames } from "../../data/sources/cifar10.ts";
import { allocateSplit } from "../../data/split.ts";
import { readTar } from "../../data/tar.ts";
import { fileTarget, type Target } from "../target.ts";

/** Images, and what holds them. */
export async function dataTargets(folder: string): Promise<Target[]> {
  return [tar(folder), await images(), await pack(folder), cifar10(), await photograph()];
}

function tarOf(members: readonly (readonly [path: string, bytes: Uint8Array])[]): Buffer {
  const blocks = members.flatMap(([path, bytes]) => {
    const header = Buffer.alloc(512);
    new Header({ path, size: bytes.length, mode: 0o644, type: "File" }).encode(header, 0);
    return [header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

function tar(folder: string): Target {
  const path = join(folder, "images.tar");
  const plain = tarOf([
    ["cat/1.png", Buffer.alloc(700, 7)],
    ["cat/2.png", Buffer.alloc(0)],
    ["dog/3.png", Buffer.from("dog")],
  ]);
  return {
    name: "tar",
    seeds: [plain, gzipSync(plain)],
    read: async (bytes) => {
      writeFileSync(path, bytes);
      for await (const _ of readTar(path, () => true));
    },
  };
}

async function images(): Promise<Target> {
  const pixels = Buffer.from(Array.from({ length: 12 * 10 * 3 }, (_, i) => (i * 37) % 256));
  const make = () => sharp(pixels, { raw: { width: 12, height: 10, channels: 3 } });
  const seeds = await Promise.all(
    [make().png(), make().jpeg(), make().webp(), make().gif(), make().tiff()].map((image) =>
      image.toBuffer(),
    ),
  );
  const only = (bytes: Buffer): ImageFiles => ({
    path: "images",
    stamp: async () => "",
    list: async () => ({ files: [], directories: [] }),
    read: async function* () {
      yield { path: "x.png", bytes: async () => bytes };
    },
  });
  return {
    name: "images",
    seeds,
    read: (bytes) =>
      decodeImages(only(bytes), [{ path: "x.png", label: 0 }], { height: 8, width: 8 }, () => () => {}),
  };
}

async function pack(folder: string): Promise<Target> {
  const packs = join(folder, "packs");
  mkdirSync(packs, { recursive: true });
  const key = { subject: "s", content: "c" };
  const made = new Pack({ name: "p", classes: ["a", "b"], height: 2, width: 2, train: 3, test: 1 });
  made.seal();
  await made.save(packs, key);
  const path = join(packs, readdirSync(packs)[0]);
  return fileTarget("pack of images", path, [readFileSync(path)], () => readPack(packs, key));
}

function cifar10(): Target {
  const split = allocateSplit(2, 32, 32);
  const names = Buffer.from("cat\ndog\nbird\nfrog\ndeer\nship\ntruck\nhorse\nplane\ncar\n");
  return {
    name: "CIFAR-10",
    seeds: [Buffer.alloc(2 * 3073, 3), names],
    read: async (bytes) => {
      if (bytes.length < 1000) parseClassNames(bytes.toString("utf8"));
      else parseBatch("batch", bytes, split, 0, 2);
    },
  };
}

async function photograph(): Promise<Target> {
  const pixels = { create: { width: 23, height: 17, channels: 3 as const, background: "#336699" } };
  return {
    name: "photograph to explain",
    seeds: [await sharp(pixels).jpeg().toBuffer(), await sharp(pixels).png().toBuffer()],
    read: (bytes) => decodePhotograph(bytes, "photo.jpg", [8, 8], 16),
  };
}
