import { describe, expect, it } from "vitest";
import { duration, rate, scaled } from "../../../src/report/numbers.ts";
import { studyMarkdown, studyTable } from "../../../src/report/table.ts";
import { markdownTable, textTable } from "../../../src/report/text-table.ts";
import { resultsOf } from "../../../src/study/results.ts";
import { finishedRun, runData } from "../study/support.ts";

const results = (...runs: Parameters<typeof finishedRun>[]) =>
  resultsOf(
    "s",
    runData,
    runs.map((run) => finishedRun(...run)),
    "0.0.0",
  );

describe("textTable", () => {
  it("aligns columns under their titles", () => {
    const columns = [
      { title: "name", cell: (row: string[]) => row[0] },
      { title: "n", align: "right" as const, cell: (row: string[]) => row[1] },
    ];
    const rows = [
      ["a", "10"],
      ["much longer", "7"],
    ];
    expect(textTable(columns, rows)).toBe(
      ["name          n", "───────────  ──", "a            10", "much longer   7"].join("\n"),
    );
    expect(markdownTable(columns, [["a|b", "1"]])).toBe("| name | n |\n| --- | ---: |\n| a\\|b | 1 |");
  });
});

describe("the study's table", () => {
  const two = results(
    ["plain", 1, { testAccuracy: 0.8, testLoss: 0.3, validationLoss: 0.4 }],
    ["se", 1, { testAccuracy: 0.9, validationLoss: 0.3 }],
  );

  it("has the study's columns and marks the best of each", () => {
    const [titles, , plain, se] = studyTable(two).split("\n");
    expect(titles.split(/\s{2,}/)).toEqual([
      "variant",
      "train acc. %",
      "val. acc. %",
      "test acc. %",
      "train loss",
      "val. loss",
      "parameters",
      "multiply-adds",
      "images/s",
    ]);
    expect(plain.split(/\s{2,}/)).toEqual([
      "plain",
      "90.00 *",
      "80.00 *",
      "80.00",
      "0.2500 *",
      "0.4000",
      "1,234",
      "7.89 M",
      "321 *",
    ]);
    expect(se.split(/\s{2,}/).slice(3, 6)).toEqual(["90.00 *", "0.2500 *", "0.3000 *"]);
  });

  it("in Markdown has the best bold", () => {
    const markdown = studyMarkdown(two);
    expect(markdown).toContain(
      "| se | **90.00** | **80.00** | **90.00** | **0.2500** | **0.3000** | 1,234 |",
    );
    expect(markdown).toContain("![loss an epoch](loss.svg)");
    expect(markdown).toContain("50 training images held back");
  });

  it("has mean and deviation of several seeds", () => {
    const text = studyTable(
      results(["plain", 1, { testAccuracy: 0.8 }], ["plain", 2, { testAccuracy: 0.9 }]),
    );
    // 0.1/√2 = 0.0707…
    expect(text).toContain("85.00 ± 7.07");
    expect(text).toContain("Mean ± sample deviation over 2 seeds.");
  });

  it("marks nothing where there is nothing to compare, and leaves out what nobody has", () => {
    const alone = results(["plain", 1, { validationAccuracy: undefined, validationLoss: undefined }]);
    expect(studyTable(alone)).not.toContain("*");
    expect(studyTable(alone)).not.toContain("val.");
  });

  it("says when the test set served to validate", () => {
    const text = studyMarkdown({ ...two, data: { ...runData, validation: "test" } });
    expect(text).toContain("the test set served as validation set");
  });
});

describe("numbers", () => {
  it("are short", () => {
    expect([960, 83_100_000, 6_011_703_296, 999_600].map(scaled)).toEqual([
      "960",
      "83.1 M",
      "6.01 G",
      "1.00 M",
    ]);
    expect([9.71, 1234.4].map(rate)).toEqual(["9.7", "1,234"]);
    const times = [400, 12_000, 250_000, 3_599_600, 7_500_000, 273_600_000];
    expect(times.map(duration)).toEqual([
      "0.4 s",
      "12 s",
      "4 min 10 s",
      "1 h 00 min",
      "2 h 05 min",
      "3 d 4 h",
    ]);
  });
});
