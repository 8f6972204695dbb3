import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { atento, type Ended, TINY, temporaryFolder, until } from "./support.ts";

const EPOCHS = 20;
const ONE = TINY.replace("epochs: 2", `epochs: ${EPOCHS}`).replace(/ {2}se:.*\n/, "");
const RUN = "tiny/plain/seed-1";

let folder: ReturnType<typeof temporaryFolder>;
let whole: string;
/** Bytes of a checkpoint. */
let checkpointBytes: number;
beforeAll(async () => {
  folder = temporaryFolder();
  folder.write("one.yaml", ONE);
  const done = await atento(["study", "one.yaml", "--out", "whole"], { cwd: folder.path });
  expect(done.code).toBe(0);
  whole = join(folder.path, "whole", RUN);
  const [name] = readdirSync(join(whole, "checkpoints"));
  checkpointBytes = statSync(join(whole, "checkpoints", name)).size;
}, 60_000);
afterAll(() => folder.remove());

const at = (...path: string[]) => join(folder.path, ...path);
const study = (out: string, start: Partial<Parameters<typeof atento>[1]> = {}, ...more: string[]) =>
  atento(["study", "one.yaml", "--out", out, ...more], { cwd: folder.path, ...start });

/** Weights, figures and table are those of the run that nothing happened to. */
function expectWhole(out: string): void {
  for (const file of ["model.safetensors", "metrics.jsonl", "test.json"]) {
    expect(readFileSync(at(out, RUN, file)).equals(readFileSync(join(whole, file))), file).toBe(true);
  }
  const table = "tiny/report/table.md";
  expect(readFileSync(at(out, table), "utf8")).toBe(readFileSync(at("whole", table), "utf8"));
}

/** One clear line, code 2, no trace. */
function expectOneLine({ code, stderr }: Ended, message: RegExp): void {
  const mistakes = stderr.split("\n").filter((line) => line.startsWith("error: "));
  expect(mistakes).toEqual([expect.stringMatching(message)]);
  expect(stderr).not.toContain("    at ");
  expect(code).toBe(2);
}

/** Whether a command works here; the reason why not is part of the test's name. */
function works(...command: string[]): boolean {
  return spawnSync(command[0], command.slice(1), { stdio: "ignore" }).status === 0;
}

const canMount = works("unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt");
const withoutMount = canMount ? "" : " (skipped: this process may not mount)";

/** Runs a script in which $ATENTO is the study's command, where mounts are gone afterwards. */
const mounted = (script: string) =>
  atento(["study", "one.yaml", "--out", "disk/runs", "--checkpoint-every", "0"], {
    cwd: folder.path,
    through: ["unshare", "-m", "sh", "-c", `set -u; atento() { "$@"; }; ${script}`, "sh"],
  });

describe("the disk", () => {
  beforeAll(() => mkdirSync(at("disk"), { recursive: true }));

  it.runIf(canMount)(`is full while it trains: what was trained stays${withoutMount}`, async () => {
    // room for two checkpoints and a half
    const filler = 2 ** 22 - Math.round(2.5 * checkpointBytes) - 40_000;
    const ended = await mounted(
      `mount -t tmpfs -o size=4m none disk; head -c ${filler} /dev/zero > disk/filler
       atento "$@"; echo "code $?" >&2; ls disk/runs/${RUN}/checkpoints >&2
       rm disk/filler; atento "$@"; code=$?; cp -r disk/runs full; exit $code`,
    );
    expect(ended.stderr).toMatch(/^code 2\nstep-\d+\.safetensors$/m);
    expect(ended.stderr).toMatch(
      /^error: disk\/runs\/\S+: cannot be written: no space is left on the disk: free some, then run the same command again$/m,
    );
    expect(ended.stderr).toMatch(/goes on after step [1-9]/);
    expect(ended.code).toBe(0);
    expectWhole("full");
  });

  it.runIf(canMount)(`turns read-only while it trains${withoutMount}`, async () => {
    const ended = await mounted(
      `mount -t tmpfs none disk; atento "$@" & child=$!
       until ls disk/runs/${RUN}/checkpoints/step-* >/dev/null 2>&1; do sleep 0.02; done
       until mount -o remount,ro disk 2>/dev/null; do :; done
       wait $child; echo "code $?" >&2
       mount -o remount,rw disk; atento "$@"; code=$?; cp -r disk/runs readonly; exit $code`,
    );
    expect(ended.stderr).toMatch(/^code 2$/m);
    expect(ended.stderr).toMatch(/^error: disk\/runs\/\S+: cannot be written: the disk is read-only: choose another/m);
    expect(ended.stderr).toMatch(/goes on after step [1-9]/);
    expect(ended.code).toBe(0);
    expectWhole("readonly");
  });

  // a disk that lies in a file that cannot grow: what it takes it cannot keep
  const failing = `mount -t tmpfs -o size=2m none disk; truncate -s 32m disk/image
    mkfs.ext4 -q -O ^has_journal disk/image && mkdir disk/device && mount -o loop disk/image disk/device`;
  const canFail = canMount && works("unshare", "-m", "sh", "-c", `mkdir -p /tmp/atento-loop/disk && cd /tmp/atento-loop && ${failing}`);
  it.runIf(canFail)(
    `fails in the middle of a write${canFail ? "" : " (skipped: no loop devices here)"}`,
    async () => {
      const ended = await atento(
        ["study", "one.yaml", "--out", "disk/device/runs", "--checkpoint-every", "0"],
        {
          cwd: folder.path,
          through: [
            ...["unshare", "-m", "sh", "-c"],
            `${failing}; head -c 1600000 /dev/urandom > disk/filler; "$@"; code=$?
             mkdir broken; cp -r disk/device/runs broken; exit $code`,
            "sh",
          ],
        },
      );
      expectOneLine(ended, /: cannot be written: the disk reports an error \(input\/output\): check it, or choose/);
    },
  );
});
