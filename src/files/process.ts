import { createHash } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** A process, so that others can tell later whether it still runs. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly host: string;
  /** Where the pid means this process: a boot of a machine, a namespace of it; its host's name where nothing tells. */
  readonly machine: string;
  /** When it started, as the system counts; 0 where nothing tells. */
  readonly started: number;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return ""; // another system, or a process that is gone
  }
}

function namespaceOf(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}

/** State and start of a process, which Linux tells (proc(5), fields 3 and 22); empty and 0 elsewhere. */
function statusOf(pid: number): { readonly state: string; readonly started: number } {
  const text = read(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" "); // the name before may hold anything
  return { state: fields[0], started: Number(fields[19] ?? 0) };
}

/** This process. */
export function ownIdentity(): ProcessIdentity {
  const host = hostname();
  const place = `${read("/proc/sys/kernel/random/boot_id") || host} ${namespaceOf()}`;
  const machine = createHash("sha256").update(place).digest("hex").slice(0, 12);
  return { pid: process.pid, host, machine, started: statusOf(process.pid).started };
}

/** Whether the process still runs; undefined when it belongs to another machine, of which nothing is known here. */
export function isRunning({ pid, machine, started }: Omit<ProcessIdentity, "host">): boolean | undefined {
  const own = ownIdentity();
  if (machine !== own.machine) return undefined;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  const now = statusOf(pid);
  if (now.state === "Z" || now.state === "X") return false; // dead, and nobody has asked how it ended
  return now.started === started;
}
