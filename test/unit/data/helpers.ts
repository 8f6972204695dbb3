import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { onTestFinished } from "vitest";

/** A folder that goes when the test is over. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "atento-data-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Where the shared real images lie; undefined when they are not on this machine. */
export function sharedData(name: string): string | undefined {
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const path = join(process.env["ATENTO_SHARED"] ?? join(root, "..", "shared"), "data", name);
  return existsSync(path) ? path : undefined;
}

export async function writeTree(root: string, files: Record<string, Uint8Array | string>): Promise<void> {
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), bytes);
  }
}

/** A PNG of one colour. */
export function plainImage(width: number, height: number, color: readonly number[]): Promise<Buffer> {
  const pixels = Buffer.from(Array.from({ length: width * height }, () => color).flat());
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

export interface Member {
  path: string;
  bytes?: Uint8Array;
  /** Type byte of the header: 0 file, 1 hard link, 2 symbolic link, 3 device, 5 folder. */
  type?: string;
  link?: string;
}

/** A tar written by the letter of POSIX.1-1988, also with members no tar program would write. */
export function makeTar(members: readonly Member[]): Buffer {
  const blocks: Buffer[] = [];
  for (const { path, bytes = new Uint8Array(0), type = "0", link = "" } of members) {
    const header = Buffer.alloc(512);
    header.write(path, 0, 100);
    header.write("0000644\0", 100);
    header.write("0000000\0", 108);
    header.write("0000000\0", 116);
    header.write(`${bytes.length.toString(8).padStart(11, "0")}\0`, 124);
    header.write("00000000000\0", 136);
    header.write("        ", 148);
    header.write(type, 156);
    header.write(link, 157, 100);
    header.write("ustar\x0000", 257);
    const sum = header.reduce((a, b) => a + b, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    blocks.push(header, Buffer.from(bytes), Buffer.alloc((512 - (bytes.length % 512)) % 512));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}
