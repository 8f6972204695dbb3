import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { atento, main, TINY, temporaryFolder } from "./support.ts";

let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => folder.remove());

const run = (line: string) => atento(line.split(" "), { cwd: folder.path });

describe("atento model", () => {
  // study.md: parameters with moving statistics
  it.each([
    ["model resnet50 --stem study --batch-norm keras", "23,581,642"],
    [
      "model resnet50 --stem study --attention se --placement identity --no-bias --batch-norm keras",
      "25,400,266",
    ],
  ])("%s has %s parameters", async (line, total) => {
    const { code, stdout, stderr } = await run(line);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toContain(`parameters, statistics included            ${total}\n`);
    expect(stdout).toMatch(/^ {2}layer1\.0 +256×16×16 +75,008 +1,280 +18\.9 M$/m);
    expect(stdout).toMatch(/\(6\.01 G\)$/m);
  });

  it("lists only as deep as it is asked to, for other sizes and classes", async () => {
    const { stdout } = await run("model resnet18 --depth 1 --image 64x32 --classes 7");
    const lines = stdout.split("\n");
    expect(lines.slice(2, 10).map((line) => line.split(" ")[0])).toEqual([
      "conv1",
      "bn1",
      "layer1",
      "layer2",
      "layer3",
      "layer4",
      "avgpool",
      "fc",
    ]);
    expect(stdout).toMatch(/^layer4 +512×8×4 /m);
    expect(stdout).toMatch(/^fc +7 +3,591 /m);
  });

  it("answers in JSON", async () => {
    const { stdout } = await run("model resnet50 --json");
    const { total, layers, model, parameters } = JSON.parse(stdout);
    expect(parameters).toBe(23_520_842);
    expect(total).toBe(23_520_842 + 53_120);
    expect(model.depths).toEqual([3, 4, 6, 3]);
    expect(layers.map((layer: { name: string }) => layer.name).slice(0, 5)).toEqual([
      "conv1",
      "bn1",
      "layer1",
      "layer1.0",
      "layer1.0.conv1",
    ]);
  });

  it("shows the program before and after the compile passes", async () => {
    const { code, stdout, stderr } = await run("model resnet50 --program inference --batch 8");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^One batch of inference: 8 images of 32×32/);
    expect(stdout).toMatch(/^0 before any pass +\d+ +\d+\.\d$/m);
    expect(stdout).toMatch(/^ {2}− +0 {2}conv2d +\[8,3,32,32\] \[64,3,3,3\] → \[8,64,32,32\]$/m);
    const { program, stages } = JSON.parse((await run("model resnet50 --program --json")).stdout);
    expect(program).toBe("training");
    expect(stages[0]).toMatchObject({ name: "before any pass", kernels: { sgd: 161 }, changes: [] });
  });

  it("minds neither a reader that has seen enough nor a full disk behind stdout", async () => {
    const shell = (tail: string) => ["bash", "-c", `set -o pipefail; "$@" ${tail}`, "bash"];
    const head = await atento(["model", "resnet101"], { cwd: folder.path, through: shell("| head -1") });
    expect(head).toMatchObject({ code: 0, stderr: "" });
    const full = await atento(["model", "resnet101"], { cwd: folder.path, through: shell("> /dev/full") });
    expect(full.code).toBe(2);
    expect(full.stderr).toMatch(/^error: write: no space left on device[^\n]*\n$/);
  });
});

describe("atento data", () => {
  it("lists, reads and draws data sets", async () => {
    expect((await run("data list")).stdout).toMatch(/^shapes +shapes +built in/m);
    const { train, perClass } = JSON.parse((await run("data get shapes --json")).stdout);
    expect(train).toBe(5000);
    expect(perClass[0]).toEqual({ name: "arrow", train: 500, test: 100 });
    const drawn = await run("data preview shapes --to sheets/shapes.png --per-class 3");
    expect(drawn).toMatchObject({ code: 0, stdout: "wrote sheets/shapes.png\n" });
    const { width, height, format } = await sharp(join(folder.path, "sheets/shapes.png")).metadata();
    expect(format).toBe("png");
    expect(width).toBeGreaterThan(3 * 64);
    expect(height).toBeGreaterThan(10 * 64);
  });
});

describe("help", () => {
  it.each([
    "study",
    "train",
    "resume",
    "eval",
    "export",
    "import",
    "model",
    "data",
    "data get",
    "data list",
    "data preview",
  ])("of %s ends with an example", async (command) => {
    const { code, stdout } = await run(`${command} --help`);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`Example:\\n  atento ${command.split(" ")[0]}`));
  });

  it("is shown when nothing is asked", async () => {
    expect(await run("--version")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
    const bare = await atento([], { cwd: folder.path });
    expect(bare.code).toBe(2);
    expect(bare.stderr).toContain("Usage: atento");
  });

  it.skipIf(process.platform === "win32")("is a command as it is built, whatever npm makes of it", () => {
    expect(execFileSync(main, ["--version"], { encoding: "utf8" })).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

const canMount = (() => {
  try {
    execFileSync("unshare", ["-m", "sh", "-c", "mount -t tmpfs none /mnt"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

/** One clear line on stderr, code 2, nothing on stdout. */
async function expectRefusal(line: string, message: string | RegExp, through?: readonly string[]) {
  const { code, stdout, stderr } = await atento(line.split(" "), { cwd: folder.path, through });
  const mistakes = stderr.split("\n").filter((text) => text.startsWith("error: "));
  expect(mistakes).toHaveLength(1);
  if (typeof message === "string") expect(mistakes[0]).toContain(message);
  else expect(mistakes[0]).toMatch(message);
  expect(stderr).not.toContain("    at ");
  expect(stdout).toBe("");
  expect(code).toBe(2);
}

describe("bad input is one clear line and code 2:", () => {
  it.each([
    ["model resnet5", 'unknown model "resnet5": did you mean resnet50?'],
    ["model resnet50 --reduction 4", 'attention none has no options, "reduction" was given'],
    ["train resnet14 --data shapes --name ..", '--name ".." must be letters, digits'],
    ["model resnet50 --attention sse", 'unknown attention "sse": did you mean se?'],
    ["model resnet50 --stem studi", 'unknown stem "studi": did you mean study?'],
    ["model resnet50 --attention se --placement al", 'unknown placement "al": did you mean all?'],
    [
      "model resnet50 --attention cbam --convention tim",
      'unknown convention of attention cbam "tim": did you mean timm?',
    ],
    ["model resnet50 --image 32,32", "argument '32,32' is invalid"],
    ["model resnet50 --program trainin", "Allowed choices are training, inference"],
    ["train resnet14 --optimizer adm", 'unknown optimizer "adm": did you mean adam?'],
    ["train resnet14 --schedule cosin", 'unknown schedule "cosin": did you mean cosine?'],
    ["train resnet14 --lr 0", "optimizer.lr must be more than 0, is 0"],
    ["train resnet14 --epochs ten", "argument 'ten' is invalid"],
    ["train resnet14 --data shape", 'unknown data source "shape": did you mean shapes?'],
    ["train resnet14 --data folder:missing", "missing: no such folder or archive"],
    ["study quik", 'unknown study "quik": did you mean quick?'],
    ["study ./missing.yaml", "./missing.yaml: no such study file"],
    ["study quick --data folder:missing", "missing: no such folder or archive"],
    [
      "study cifar10 --data shapes --dry-run",
      "validation: 5000 images asked for, but there are 5000 training images",
    ],
    ["study cifar10 --data shapes", "validation: 5000 images asked for, but there are 5000 training images"],
    ["study quick --threads 0", "must be a whole number above 0"],
    ["study quick --thread 1", "unknown option '--thread' (Did you mean --threads?)"],
    ["studi quick", "unknown command 'studi' (Did you mean study?)"],
    ["data prewiev shapes", "unknown command 'prewiev' (Did you mean preview?)"],
    ["eval missing", "missing: there is no such run or model file"],
    ["resume missing", "missing: holds no run"],
    ["study quick --out /proc/none/runs", "/proc/none/runs: cannot be written"],
    ["study quick --out /dev/null/runs", "/dev/null/runs: cannot be written: a part of the path is a file"],
    ["data preview shapes --to /proc/none.png", "/proc/none.png: cannot be written"],
  ])("%s", async (line, message) => {
    await expectRefusal(line, message);
  });

  it("a typo in a study file, with its line and column", async () => {
    folder.write("typo.yaml", TINY.replace("reduction: 4", "reducton: 4"));
    await expectRefusal(
      "study typo.yaml",
      /^error: typo\.yaml:7:24: unknown key in variants\.se "reducton": did you mean reduction\?/,
    );
    folder.write("optimizer.yaml", TINY.replace("name: sgd", "name: sgdm"));
    await expectRefusal(
      "study optimizer.yaml",
      /^error: optimizer\.yaml:4:51: unknown optimizer "sgdm": did you mean sgd\?/,
    );
    folder.write("broken.yaml", TINY.replace("variants:", "variants"));
    await expectRefusal("study broken.yaml", /^error: broken\.yaml:5:1: /);
  });

  it("an empty data folder, an empty class folder, a file that is no image", async () => {
    mkdirSync(join(folder.path, "empty"));
    await expectRefusal("train resnet14 --data folder:empty", "no images: expected class folders");
    for (const name of ["cat", "dog"]) mkdirSync(join(folder.path, "half", name), { recursive: true });
    writeFileSync(join(folder.path, "half/cat/1.png"), "no image");
    await expectRefusal("data get folder:half", "class folder dog/ holds no image");
    writeFileSync(join(folder.path, "half/dog/1.png"), "no image");
    writeFileSync(join(folder.path, "half/dog/2.png"), "no image");
    writeFileSync(join(folder.path, "half/cat/2.png"), "no image");
    await expectRefusal("data get folder:half", "cat/1.png");
  });

  it("a truncated archive", async () => {
    const pixels = { create: { width: 8, height: 8, channels: 3, background: "red" } } as const;
    for (const name of ["cat", "dog"]) {
      mkdirSync(join(folder.path, "images", name), { recursive: true });
      for (let k = 0; k < 5; k++)
        await sharp(pixels)
          .png()
          .toFile(join(folder.path, "images", name, `${k}.png`));
    }
    execFileSync("tar", ["czf", "whole.tar.gz", "images"], { cwd: folder.path });
    expect((await run("data get folder:whole.tar.gz")).code).toBe(0);
    const whole = readFileSync(join(folder.path, "whole.tar.gz"));
    writeFileSync(join(folder.path, "cut.tar.gz"), whole.subarray(0, whole.length - 100));
    await expectRefusal("data get folder:cut.tar.gz", "cut.tar.gz: not a whole tar archive");
    writeFileSync(join(folder.path, "cifar-10-binary.tar.gz"), whole.subarray(0, 200));
    await expectRefusal("train resnet14 --data cifar10:cifar-10-binary.tar.gz", "cifar-10-binary.tar.gz");
  });

  it("a run folder of another architecture", async () => {
    folder.write("tiny.yaml", TINY.replace("epochs: 2", "epochs: 1"));
    expect((await run("study tiny.yaml --out others")).code).toBe(0);
    const study = join(folder.path, "others/tiny/study.json");
    const known = JSON.parse(readFileSync(study, "utf8"));
    folder.write("wide.yaml", TINY.replace("epochs: 2", "epochs: 1").replace("widths: [4]", "widths: [8]"));
    await expectRefusal("study wide.yaml --out others", "variants.plain.model.widths is [4] there, [8] here");
    // the study's own record gone, the runs still know what they are
    for (const variant of Object.values<{ model: { widths: number[] } }>(known.variants))
      variant.model.widths = [8];
    writeFileSync(study, JSON.stringify(known));
    await expectRefusal("study wide.yaml --out others", "variants.plain.model.widths is [4] there, [8] here");
  }, 60_000);

  it.runIf(canMount)(
    "no space left, a file system that can only be read",
    async () => {
      folder.write("tiny.yaml", TINY);
      mkdirSync(join(folder.path, "disk"));
      const mounted = (options: string) => [
        "unshare",
        "-m",
        "sh",
        "-c",
        `mount -t tmpfs -o ${options} none disk && exec "$@"`,
        "sh",
      ];
      await expectRefusal(
        "study tiny.yaml --out disk/runs",
        "no space is left on the disk",
        mounted("size=16k"),
      );
      await expectRefusal("study tiny.yaml --out disk/runs", "disk/runs: cannot be written", mounted("ro"));
    },
    60_000,
  );

  it("a limit on the size of files", async () => {
    folder.write("tiny.yaml", TINY);
    const limited = ["bash", "-c", 'ulimit -f 4; exec "$@"', "bash"];
    await expectRefusal(
      "study tiny.yaml --out limited",
      "the file is larger than the system allows",
      limited,
    );
  }, 60_000);
});
