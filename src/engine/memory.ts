import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { UserError } from "../tensor/errors.ts";

/** Text of a file of the system; empty where there is none. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** Memory that this process can still have, in bytes: what the machine has left, or the limits set on this process. */
export function availableBytes(): number {
  return Math.min(machineBytes(), ...groupBytes());
}

/** What can be had without swapping, as Linux estimates it; elsewhere all there is. */
function machineBytes(): number {
  const kibibytes = /^MemAvailable:\s+(\d+) kB$/m.exec(read("/proc/meminfo"))?.[1];
  return kibibytes === undefined ? totalmem() : 1024 * Number(kibibytes);
}

interface GroupFiles {
  readonly root: string;
  readonly limit: string;
  readonly usage: string;
  /** In memory.stat: cached files, which give way. */
  readonly cached: readonly string[];
}

const VERSION_1: GroupFiles = {
  root: "/sys/fs/cgroup/memory",
  limit: "memory.limit_in_bytes",
  usage: "memory.usage_in_bytes",
  cached: ["total_active_file", "total_inactive_file"],
};
const VERSION_2: GroupFiles = {
  root: "/sys/fs/cgroup",
  limit: "memory.max",
  usage: "memory.current",
  cached: ["active_file", "inactive_file"],
};

/** What the control groups around this process still allow, each of them and those above it. */
function groupBytes(): number[] {
  return read("/proc/self/cgroup")
    .split("\n")
    .flatMap((line) => {
      const [, controllers, path = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      if (controllers === undefined) return [];
      const files = controllers === "" ? VERSION_2 : controllers.split(",").includes("memory") && VERSION_1;
      if (!files) return [];
      const parts = path.split("/").filter(Boolean);
      const folders = parts.map((_, k) => `${files.root}/${parts.slice(0, k + 1).join("/")}`);
      return [files.root, ...folders].flatMap((folder) => headroom(folder, files));
    });
}

function headroom(folder: string, { limit, usage, cached }: GroupFiles): number[] {
  const [most, used] = [limit, usage].map((file) => Number.parseInt(read(`${folder}/${file}`), 10));
  if (!Number.isFinite(most) || !Number.isFinite(used)) return []; // no limit: "max"
  const stat = new Map(
    read(`${folder}/memory.stat`)
      .split("\n")
      .map((line) => line.split(" ") as [string, string]),
  );
  const files = cached.reduce((sum, key) => sum + Number(stat.get(key) ?? 0), 0);
  return [most - used + files];
}

/** @throws UserError when the machine lacks the memory. @param what needs it. */
export function expectMemory(what: string, bytes: number, available = availableBytes()): void {
  if (bytes <= available) return;
  throw new UserError(
    `${what} needs ${memory(bytes)} of memory, ${memory(available)} can be had here: ` +
      "take a smaller batch or model, or free some memory",
  );
}

/** `1.4 GiB`, `12 MiB`. */
export const memory = (bytes: number) =>
  bytes < 0.1 * 2 ** 30 ? `${Math.ceil(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
