import { homedir } from "node:os";
import { join } from "node:path";
import type { z } from "zod";
import type { Dataset } from "./dataset.ts";

/** What loading has done so far; `total` is missing where nobody knows it (a server that gives no length). */
export interface Progress {
  readonly phase: "download" | "decode";
  readonly unit: "bytes" | "images";
  readonly done: number;
  readonly total?: number;
}

export interface LoadOptions {
  /** Folder for downloads and packed images; default `$ATENTO_CACHE`, else `~/.cache/atento`. */
  readonly cache?: string;
  readonly onProgress?: (progress: Progress) => void;
  /** Something worth knowing that is no error, one line: what was left out, what could not be cached. */
  readonly onNote?: (note: string) => void;
  /** Where CIFAR-10 is downloaded from, and the MD5 its archive must have. */
  readonly cifar10?: { readonly url?: string; readonly md5?: string };
}

/** One kind of data source: its settings in a study file, its short form on the command line, how it is loaded. */
export interface SourceSpec<S extends { readonly source: string }> {
  readonly name: S["source"];
  /** What it is, for a list of sources; a few words. */
  readonly summary: string;
  /** Its short form on the command line. */
  readonly usage: string;
  readonly schema: z.ZodType<S>;
  /** @param rest what followed the colon in the short form; undefined when there was none. Throws UserError. */
  fromText(rest: string | undefined): S;
  /** Reads, draws or downloads it; throws UserError where the data is not as it should be. */
  load(source: S, options: LoadOptions): Promise<Dataset>;
}

/** The cache folder of these options, whether it exists or not. */
export function cacheFolder(options: Pick<LoadOptions, "cache">): string {
  return options.cache ?? (process.env["ATENTO_CACHE"] || join(homedir(), ".cache", "atento"));
}

/** A path as a person writes it: a leading `~/` is the home folder, which no shell expands behind `folder:`. */
export function userPath(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}
