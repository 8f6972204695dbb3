import { createHash } from "node:crypto";
import { type Dirent, readdirSync, type Stats, statSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { unreadable } from "../files/unreadable.ts";
import { UserError } from "../tensor/errors.ts";
import { MAX_FILE_BYTES, readTar } from "./tar.ts";

/** Paths relative to the root, parts joined by `/`, in code-unit order. */
export interface Listing {
  readonly files: readonly string[];
  readonly directories: readonly string[];
}

/** A tree of files that holds images: a folder, or a tar of one. */
export interface ImageFiles {
  readonly path: string;
  /** Changes whenever a file does: names, sizes and times of change. */
  stamp(): Promise<string>;
  list(): Promise<Listing>;
  /** Content of the wanted files, in any order. */
  read(wanted: ReadonlySet<string>): AsyncGenerator<{ path: string; bytes: () => Promise<Buffer> }>;
}

/** Opens a folder or a tar archive; throws UserError when there is neither. */
export async function openImageFiles(path: string): Promise<ImageFiles> {
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new UserError(`${path}: no such folder or archive: check the path`);
  if (found.isDirectory()) return new FolderFiles(path);
  if (found.isFile() && /\.(tar|tgz|tar\.gz)$/i.test(path)) return new TarFiles(path, found);
  throw new UserError(`${path}: expected a folder of class folders, or a .tar or .tar.gz of one`);
}

class TarFiles implements ImageFiles {
  readonly path: string;
  readonly #stats: Stats;

  constructor(path: string, stats: Stats) {
    this.path = path;
    this.#stats = stats;
  }

  async stamp(): Promise<string> {
    return `tar ${this.#stats.size} ${this.#stats.mtimeMs}`;
  }

  async list(): Promise<Listing> {
    const files = new Set<string>();
    const directories = new Set<string>();
    for await (const { path, directory } of readTar(this.path, () => false)) {
      if (isClutter(path)) continue;
      if (files.has(path))
        throw new UserError(`${this.path}: member ${path} comes twice: make the archive anew`);
      (directory ? directories : files).add(path);
    }
    return { files: [...files].sort(), directories: [...directories].sort() };
  }

  async *read(wanted: ReadonlySet<string>): AsyncGenerator<{ path: string; bytes: () => Promise<Buffer> }> {
    for await (const { path, bytes } of readTar(this.path, (member) => wanted.has(member))) {
      if (wanted.has(path)) yield { path, bytes: async () => bytes };
    }
  }
}

const MAX_DEPTH = 8;

class FolderFiles implements ImageFiles {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async stamp(): Promise<string> {
    const hash = createHash("sha256");
    const { files, directories } = await this.list();
    hash.update(JSON.stringify(directories));
    for (const [i, file] of files.entries()) {
      const { size, mtimeMs } = statSync(join(this.path, file));
      hash.update(`${file}\0${size}\0${mtimeMs}\n`);
      if (i % 2048 === 0) await turn();
    }
    return hash.digest("hex");
  }

  async list(): Promise<Listing> {
    const files: string[] = [];
    const directories: string[] = [];
    const walk = (folder: string, depth: number) => {
      if (depth > MAX_DEPTH) {
        throw new UserError(
          `${join(this.path, folder)}: more than ${MAX_DEPTH} folders deep: is a link leading back?`,
        );
      }
      for (const entry of entriesOf(join(this.path, folder))) {
        const path = folder ? `${folder}/${entry.name}` : entry.name;
        if (isClutter(entry.name)) continue;
        const kind = this.#resolve(entry, path);
        if (kind.isFile()) files.push(path);
        if (kind.isDirectory()) {
          directories.push(path);
          walk(path, depth + 1);
        }
      }
    };
    walk("", 0);
    return { files: files.sort(), directories: directories.sort() };
  }

  async *read(wanted: ReadonlySet<string>): AsyncGenerator<{ path: string; bytes: () => Promise<Buffer> }> {
    for (const path of wanted) yield { path, bytes: () => readImage(join(this.path, path)) };
  }

  #resolve(entry: Dirent, path: string): Dirent | Stats {
    if (!entry.isSymbolicLink()) return entry;
    const target = statSync(join(this.path, path), { throwIfNoEntry: false });
    if (!target) throw new UserError(`${join(this.path, path)}: the link leads nowhere: remove or repair it`);
    return target;
  }
}

async function readImage(path: string): Promise<Buffer> {
  const { size } = await stat(path);
  if (size > MAX_FILE_BYTES) throw new Error(`${size} bytes, more than 512 MiB`);
  return readFile(path);
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    throw unreadable(folder, error);
  }
}

const CLUTTER = new Set(["__MACOSX", "Thumbs.db", "desktop.ini"]);

/** What file managers leave behind: names with a leading dot, thumbnails. */
function isClutter(path: string): boolean {
  return path.split("/").some((part) => part.startsWith(".") || CLUTTER.has(part));
}
