import { createReadStream } from "node:fs";
import { Parser, type ReadEntry } from "tar";
import { unreadable } from "../files/unreadable.ts";
import { UserError } from "../tensor/errors.ts";

export interface TarFile {
  /** Path in the archive, parts joined by `/`, without a leading `./`. */
  readonly path: string;
  readonly directory: boolean;
  /** Content; empty for a directory and for a file nobody wanted. */
  readonly bytes: Buffer;
}

export const MAX_FILE_BYTES = 512 * 2 ** 20;
/** Letters that the names of all members may have, with what it takes to keep each. */
const MAX_NAMES = 200e6;
const NAME_COST = 64;

/**
 * Reads a tar (plain or gzip) as a stream, in its order; nothing is written to disk.
 *
 * Throws UserError, naming the member, for links, devices, absolute paths, paths with `..` and files over
 * 512 MiB, and for an archive that is damaged or cut off.
 *
 * @param wants whether a file's content is needed, by its path.
 */
export async function* readTar(archive: string, wants: (path: string) => boolean): AsyncGenerator<TarFile> {
  const complete: TarFile[] = [];
  let problem: UserError | undefined;
  const damaged = (reason: string) => {
    problem ??= new UserError(`${archive}: not a whole tar archive (${reason}): get or make it again`);
  };
  let names = 0;
  const parser = new Parser({
    onReadEntry: (entry) => {
      if (problem) return entry.resume();
      names += entry.path.length + NAME_COST;
      if (names > MAX_NAMES)
        problem = new UserError(`${archive}: holds too many files: make smaller archives`);
      problem ??= refusal(archive, entry);
      collect(entry, !problem && wants(cleanPath(entry.path)), (file) => complete.push(file));
    },
    onwarn: (_code, message) => damaged(String(message)),
  });
  parser.on("error", (error: Error) => damaged(error.message));
  // Every tar ends with empty blocks; without them part of it may be missing.
  let closed = false;
  parser.on("nullBlock", () => {
    closed = true;
  });
  const ended = new Promise<void>((resolve) => {
    for (const event of ["end", "error", "abort"]) parser.on(event, () => resolve());
  });
  for await (const chunk of chunksOf(archive)) {
    try {
      parser.write(chunk);
    } catch (error) {
      damaged((error as Error).message);
    }
    if (problem) throw problem;
    yield* complete.splice(0);
  }
  parser.end();
  await ended;
  if (!closed) damaged("it ends too early");
  if (problem) throw problem;
  yield* complete.splice(0);
}

async function* chunksOf(archive: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of createReadStream(archive, { highWaterMark: 1 << 18 })) yield chunk as Buffer;
  } catch (error) {
    throw unreadable(archive, error);
  }
}

function collect(entry: ReadEntry, wanted: boolean, done: (file: TarFile) => void): void {
  const chunks: Buffer[] = [];
  const path = cleanPath(entry.path);
  const directory = entry.type === "Directory" || entry.type === "GNUDumpDir";
  if (wanted) entry.on("data", (chunk: Buffer) => chunks.push(chunk));
  else entry.resume();
  entry.on("end", () => {
    if (path !== "") done({ path, directory, bytes: Buffer.concat(chunks) });
  });
}

const REGULAR = new Set(["File", "OldFile", "ContiguousFile", "Directory", "GNUDumpDir"]);

function refusal(archive: string, entry: ReadEntry): UserError | undefined {
  const refuse = (why: string) =>
    new UserError(
      `${archive}: member ${JSON.stringify(entry.path)} ${why}: refused; make the archive without it`,
    );
  if (!REGULAR.has(entry.type)) return refuse(`is a ${entry.type}, not a file or folder`);
  if (/^([/\\]|[A-Za-z]:[/\\])/.test(entry.path)) return refuse("has an absolute path");
  if (entry.path.split(/[/\\]/).includes("..")) return refuse("points out of the archive (..)");
  if (entry.size > MAX_FILE_BYTES) return refuse(`has ${entry.size} bytes, more than 512 MiB`);
  return undefined;
}

function cleanPath(path: string): string {
  return path
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");
}
