import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { atento, type Ended, TINY, temporaryFolder } from "./support.ts";

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
    // room for the images to explain, for two checkpoints and a half
    const { size } = statSync(at("whole/tiny/cam/images.safetensors"));
    const filler = 2 ** 22 - size - Math.round(2.5 * checkpointBytes) - 40_000;
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
    expect(ended.stderr).toMatch(
      /^error: disk\/runs\/\S+: cannot be written: the disk is read-only: choose another/m,
    );
    expect(ended.stderr).toMatch(/goes on after step [1-9]/);
    expect(ended.code).toBe(0);
    expectWhole("readonly");
  });

  const compiler = works("cc", "--version");
  it.runIf(compiler).each(["write", "fsync"])(
    `fails in the middle of a %s${compiler ? "" : " (skipped: no C compiler here)"}`,
    async (kind) => {
      const [source, library] = [join(import.meta.dirname, "failing-disk.c"), at("failing-disk.so")];
      execFileSync("cc", ["-shared", "-fPIC", "-o", library, source, "-ldl"]);
      const env = { LD_PRELOAD: library, FAIL: kind, AFTER: "5" };
      const failed = await study(kind, { env }, "--checkpoint-every", "0");
      expectOneLine(
        failed,
        /step-\d+\.safetensors: cannot be written: the disk reports an error \(input\/output\)/,
      );
      const again = await study(kind);
      expect(again.stderr).toMatch(/goes on after step [1-9]/);
      expectWhole(kind);
    },
  );
});

describe("a thread dies", () => {
  it.each([
    ["data", /^error: data loader: its thread has died \(exit code 7\): run the same command again$/],
    [
      "checkpoints",
      /step-\d+\.safetensors: the thread that writes it has died \(exit code 7\): run the same/,
    ],
  ])("that of %s", async (DIES, message) => {
    const hook = join(import.meta.dirname, "dying-thread.mjs");
    const env = { NODE_OPTIONS: `--import ${hook}`, DIES, AFTER: DIES === "data" ? "20" : "2" };
    expectOneLine(await study(DIES, { env }), message);
    const again = await study(DIES);
    // a death of the data's thread loses no step: 20 batches were prepared, up to 3 of them not yet trained with
    expect(again.stderr).toMatch(
      DIES === "data" ? /goes on after step (1[6-9]|20),/ : /goes on after step \d+/,
    );
    expectWhole(DIES);
  });
});

describe("the data set", () => {
  beforeAll(async () => {
    const { drawShapes } = await import("../../src/data/sources/shapes.ts");
    const { train, classes } = drawShapes({ train: 60, test: 10, size: 16 });
    for (let k = 0; k < train.count; k++) {
      const file = at("images", classes[train.labels[k]], `${k}.png`);
      mkdirSync(join(file, ".."), { recursive: true });
      const raw = { width: 16, height: 16, channels: 3 } as const;
      await sharp(train.images.subarray(768 * k, 768 * (k + 1)), { raw })
        .png()
        .toFile(file);
    }
    folder.write(
      "images.yaml",
      ONE.replace(/data: .*/, "data: { source: folder, path: images, validation: 10 }"),
    );
  });
  const images = (out: string, start: Partial<Parameters<typeof atento>[1]> = {}) =>
    atento(["study", "images.yaml", "--out", out], { cwd: folder.path, ...start });
  const model = (out: string) => readFileSync(at(out, RUN, "model.safetensors"));

  it("vanishes while it trains: it is held in memory", async () => {
    expect((await images("images-whole")).code).toBe(0);
    const during = await images("vanishing", {
      onStderr: (text) => {
        if (text.includes("epoch 1 of") && existsSync(at("images"))) renameSync(at("images"), at("gone"));
      },
    });
    expect(during.code).toBe(0);
    expect(existsSync(at("images"))).toBe(false);
    expect(model("vanishing").equals(model("images-whole"))).toBe(true);
    renameSync(at("gone"), at("images"));
  });

  it("is away when a run is gone on with: one line; and can lie elsewhere", async () => {
    let sent = false;
    const stopped = await images("away", {
      onStderr: (text, kill) => {
        if (!sent && text.includes("epoch 2 of")) kill("SIGTERM");
        sent ||= text.includes("epoch 2 of");
      },
    });
    expect(stopped.code).toBe(130);
    renameSync(at("images"), at("elsewhere"));
    expectOneLine(await images("away"), /images: no such folder or archive: check the path$/);
    const run = join("away", RUN);
    expectOneLine(
      await atento(["resume", run], { cwd: folder.path }),
      /images: no such folder or archive: check the path$/,
    );
    const resumed = await atento(["resume", run, "--data", "folder:elsewhere"], { cwd: folder.path });
    expect(resumed.code).toBe(0);
    const weights = (file: Buffer) => file.subarray(8 + Number(file.readBigUInt64LE()));
    expect(weights(model("away")).equals(weights(model("images-whole")))).toBe(true);
    renameSync(at("elsewhere"), at("images"));
  });

  it("loses an image while it is read", async () => {
    // each file is there when the folder is listed; one is taken away by the first that is read
    const [first] = readdirSync(at("images"));
    const hook = at("vanish.mjs");
    folder.write(
      "vanish.mjs",
      `import fs from "node:fs"; import { syncBuiltinESMExports } from "node:module";
       const { readFile } = fs.promises;
       fs.promises.readFile = (path, ...rest) => { if (String(path).endsWith(".png")) fs.rmSync(${JSON.stringify(at("images", first))}, { recursive: true, force: true }); return readFile(path, ...rest); };
       syncBuiltinESMExports();`,
    );
    cpSync(at("images"), at("copy"), { recursive: true });
    const env = { NODE_OPTIONS: `--import ${hook}`, ATENTO_CACHE: at("other-cache") };
    expectOneLine(
      await images("losing", { env }),
      /images\/\S+\.png: cannot be read \(ENOENT: [^\n]*\): check/,
    );
    rmSync(at("images"), { recursive: true });
    renameSync(at("copy"), at("images"));
  });
});

describe("memory", () => {
  const big = ["train", "resnet50", "--data", "shapes", "--out", "big", "--batch"];

  it("that no machine has is asked for before anything is trained", async () => {
    const refused = await atento([...big, "5000", "--stem", "study"], { cwd: folder.path });
    expectOneLine(
      refused,
      /^error: run resnet50 with batches of 4500 needs \d{3,}\.\d GiB of memory, \d+\.\d GiB can be had here: take a smaller batch/,
    );
    expect(existsSync(at("big/train"))).toBe(false);
  });

  // a control group with less memory than the model needs, where such groups can be made
  const root = "/sys/fs/cgroup";
  const first = existsSync(`${root}/cgroup.controllers`) ? root : `${root}/memory`;
  const limit = first === root ? "memory.max" : "memory.limit_in_bytes";
  const group = `${first}/atento-test-${process.pid}`;
  const canLimit = works(
    "sh",
    "-c",
    `mkdir ${group} && echo 600000000 > ${group}/${limit} && rmdir ${group}`,
  );
  it.runIf(canLimit)(
    `that a control group does not allow${canLimit ? "" : " (skipped: no control groups can be made here)"}`,
    async () => {
      execFileSync("sh", ["-c", `mkdir ${group} && echo 600000000 > ${group}/${limit}`]);
      const within = ["sh", "-c", `echo $$ > ${group}/cgroup.procs && exec "$@"`, "sh"];
      try {
        const start = { cwd: folder.path, through: within };
        expectOneLine(
          await atento([...big, "32"], start),
          /needs \d\.\d GiB of memory, 0\.\d GiB can be had here/,
        );
        expect((await study("limited", { through: within })).code).toBe(0);
      } finally {
        execFileSync("rmdir", [group]);
      }
    },
  );
});

describe("the loss", () => {
  it("turns NaN in one variant: the layer is named, the others are trained", async () => {
    const wild = "  wild: { train: { optimizer: { name: sgd, lr: 1e25 } } }\n";
    folder.write("wild.yaml", ONE.replace("  plain: {}\n", `${wild}  plain: {}\n`));
    const ended = await atento(["study", "wild.yaml", "--out", "wild"], { cwd: folder.path });
    expectOneLine(
      ended,
      /^error: not finished: wild, seed 1 \(the loss became NaN in step \d+ of epoch 1, .*layer \S+ went first/,
    );
    expect(ended.stdout).toMatch(/^plain /m);
    expect(ended.stdout).toMatch(/^Missing: wild, seed 1: the loss became NaN/m);
    expect(JSON.parse(readFileSync(at("wild/tiny/results.json"), "utf8")).failed).toHaveLength(1);
    const metrics = join(RUN, "metrics.jsonl");
    expect(readFileSync(at("wild", metrics), "utf8")).toBe(
      readFileSync(join(whole, "metrics.jsonl"), "utf8"),
    );
  });
});

describe("two processes", () => {
  it("cannot train in one folder; one that was killed is no obstacle", async () => {
    let second: Promise<Ended> | undefined;
    let holder = 0;
    const killed = await study("shared", {
      onStderr: (text, kill, pid) => {
        if (!text.includes("epoch 2 of")) return;
        holder = pid;
        second ??= study("shared").finally(() => kill("SIGKILL"));
        kill("SIGSTOP");
      },
    });
    expect(killed.code).toBe(null);
    const since = "\\d{4}-\\d\\d-\\d\\dT\\S+Z";
    expectOneLine(
      await second!,
      new RegExp(`seed-1: process ${holder} on \\S+ trains here since ${since}: wait`),
    );
    const third = await study("shared");
    expect(third.stderr).toContain("goes on after step ");
    expectWhole("shared");
    expect(readdirSync(at("shared", RUN))).not.toContain("lock.json");
  });
});

describe("a run folder", () => {
  it("goes on at another path, with other threads, while the first copy lies where it was", async () => {
    let copied = false;
    const first = await study("here", {
      onStderr: (text, kill) => {
        if (copied || !text.includes("epoch 3 of")) return;
        copied = true;
        kill("SIGSTOP");
        cpSync(at("here"), at("there"), { recursive: true });
        kill("SIGKILL");
      },
    });
    expect(first.code).toBe(null);
    expect(readdirSync(at("there", RUN))).toContain("lock.json");
    const resumed = await atento(["resume", join("there", RUN), "--threads", "1"], { cwd: folder.path });
    expect(resumed.stderr).toContain("goes on after step ");
    expect((await study("there")).code).toBe(0);
    expectWhole("there");
  });

  it("is left while its report is written, with what to type to go on", async () => {
    let sent = false;
    const left = await study("reported", {
      onStderr: (text, kill) => {
        if (!sent && text.includes("test accuracy")) kill("SIGINT");
        sent ||= text.includes("test accuracy");
      },
    });
    expect(left.code).toBe(130);
    expect(left.stdout).toBe("");
    expect(left.stderr).toMatch(/^to go on: atento study one\.yaml --out reported$/m);
    expect((await study("reported")).code).toBe(0);
    expectWhole("reported");
  });

  it("is left at once when asked twice, and nothing is lost", async () => {
    let asked = 0;
    const left = await study("twice", {
      onStderr: (text, kill) => {
        if (asked === 0 && text.includes("epoch 2 of")) asked += Number(kill("SIGTERM") === undefined);
        else if (asked === 1 && text.includes("stopping")) asked += Number(kill("SIGINT") === undefined);
      },
    });
    expect(left.code).toBe(130);
    expect(left.stderr).toContain("stopping: what is done is saved; once more leaves at once");
    expect((await study("twice")).code).toBe(0);
    expectWhole("twice");
  });
});
