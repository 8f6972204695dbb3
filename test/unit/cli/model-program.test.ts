import { describe, expect, it } from "vitest";
import { describeProgram, type ProgramOptions } from "../../../src/cli/model-program.ts";
import { resolveModel } from "../../../src/models/options.ts";

const model = resolveModel({ name: "resnet14", attention: "cbam" }, 10);
const asked = { batch: 4, image: [32, 32] as const };

interface Stage {
  readonly name: string;
  readonly records: number;
  readonly kernels: Readonly<Record<string, number>>;
  readonly scratchBytes: number;
  readonly changes: readonly { readonly kind: string; readonly kernel: string; readonly layer: string }[];
  readonly program?: readonly object[];
}

function describeBoth(options: ProgramOptions) {
  const { document, text } = describeProgram(model, options);
  return { stages: (document as { stages: Stage[] }).stages, text };
}

describe.each(["training", "inference"] as const)("the program of %s", (program) => {
  const { stages, text } = describeBoth({ ...asked, program });
  const [first] = stages;
  const last = stages[stages.length - 1];

  it("is summed up for every stage", () => {
    expect(first.name).toBe("before any pass");
    expect(last.records).toBeLessThan(first.records);
    for (const { records, kernels } of stages)
      expect(Object.values(kernels).reduce((a, b) => a + b)).toBe(records);
    const mebibytes = (first.scratchBytes / 2 ** 20).toFixed(1);
    expect(text).toMatch(
      new RegExp(`^0 before any pass +${first.records} +${mebibytes.replace(".", "\\.")}$`, "m"),
    );
    expect(text).toMatch(new RegExp(`^conv2d +${first.kernels["conv2d"]} `, "m"));
  });

  it("shows what each pass changes, in lines that fit", () => {
    const lines = text.split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
    const changes = stages.flatMap(({ changes }) => changes);
    const marked = (sign: string) => lines.filter((line) => line.startsWith(`  ${sign} `)).length;
    expect(marked("−")).toBe(changes.filter(({ kind }) => kind === "gone").length);
    expect(marked("+")).toBe(changes.filter(({ kind }) => kind === "new").length);
    expect(marked("+")).toBeGreaterThan(0);
    expect(text).not.toContain("All records");
  });

  it("is listed whole where asked for", () => {
    const whole = describeBoth({ ...asked, program, records: true });
    expect(whole.stages.map(({ program }) => program?.length)).toEqual(
      stages.map((stage) => (stage === first || stage === last ? stage.records : undefined)),
    );
    const lists = whole.text.split("All records ").slice(1);
    expect(lists.map((list) => list.split("\n")[0])).toEqual(["before any pass", `after ${last.name}`]);
    for (const [k, { records }] of [first, last].entries())
      expect(lists[k].match(/^ +\d+ {2}[a-z]/gm)).toHaveLength(records);
  });
});

it("folds batch norm away in inference", () => {
  const { text } = describeBoth({ ...asked, program: "inference" });
  expect(text).toMatch(
    /^ {2}bn1\n {2}− +1 {2}batch_norm_inference +\[4,64,32,32\] \[64\]×4 → \[4,64,32,32\]$/m,
  );
});
