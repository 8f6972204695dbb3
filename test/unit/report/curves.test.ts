import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { curves } from "../../../src/report/curves.ts";
import { spreadLabels } from "../../../src/report/labels.ts";
import { renderChart } from "../../../src/report/render.ts";
import { strokeOf } from "../../../src/report/style.ts";
import { finishedRun } from "../study/support.ts";

const variants = ["plain", "se", "cbam", "se-adam"];
const runs = variants.map((variant) => finishedRun(variant, 1, {}, 6));

describe("spreadLabels", () => {
  it("leaves labels that do not touch where they belong", () => {
    expect(spreadLabels([5, 1, 9], 2, [0, 10])).toEqual([5, 1, 9]);
  });

  it("moves touching labels apart, as little as can be", () => {
    expect(spreadLabels([5, 5], 2, [0, 10])).toEqual([6, 4]);
    // three around 5: 3, 5, 7, in the order of their places
    expect(spreadLabels([5.1, 5, 4.9], 2, [0, 10]).map((x) => Math.round(x))).toEqual([7, 5, 3]);
  });

  it("stays in the range", () => {
    expect(spreadLabels([10, 10, 10], 2, [0, 10])).toEqual([10, 8, 6]);
    expect(spreadLabels([0, 0], 2, [0, 10])).toEqual([2, 0]);
  });
});

describe("strokes", () => {
  it("differ in colour and in dash", () => {
    const strokes = Array.from({ length: 8 }, (_, k) => strokeOf(k));
    expect(new Set(strokes.map(({ color }) => color)).size).toBe(8);
    expect(new Set(strokes.map(({ dash }) => dash.join())).size).toBe(8);
    expect(strokeOf(8)).not.toEqual(strokeOf(0));
  });
});

describe("curves", () => {
  it("are the same picture as SVG and PNG, the PNG at twice the size, with its text drawn", async () => {
    const { svg, png } = await renderChart(curves("accuracy", runs, "demo"));
    const [, width, height] = /<svg[^>]* width="([\d.]+)" height="([\d.]+)"/.exec(svg) ?? [];
    const { data, info } = await sharp(png).greyscale().raw().toBuffer({ resolveWithObject: true });
    expect(info.width).toBe(Math.round(2 * Number(width)));
    expect(info.height).toBe(Math.round(2 * Number(height)));
    for (const text of [...variants, "demo: accuracy", "Training", "Validation", "epoch", "60%"]) {
      expect(svg).toContain(`>${text}<`);
    }
    // the title stands alone in the upper left corner: without a font there would be no ink
    const title = Array.from({ length: 60 }, (_, row) =>
      data.subarray(row * info.width, row * info.width + 300),
    );
    expect(title.some((pixels) => pixels.some((grey) => grey < 80))).toBe(true);
  });

  it("tell variants apart by dash and colour", async () => {
    const { svg } = await renderChart(curves("loss", runs, "demo"));
    for (let k = 0; k < 4; k++) {
      const { color, dash } = strokeOf(k);
      expect(svg).toContain(`stroke="${color}"`);
      if (dash.length > 0) expect(svg).toContain(`stroke-dasharray="${dash.join(",")}"`);
    }
  });

  it("have a band where seeds differ", async () => {
    const other = {
      ...finishedRun("plain", 2, {}, 6),
      epochs: finishedRun("plain", 2, {}, 7).epochs.slice(1),
    };
    const shifted = { ...other, epochs: other.epochs.map((record, k) => ({ ...record, epoch: k + 1 })) };
    const spec = curves("accuracy", [runs[0], shifted], "demo");
    expect(JSON.stringify(spec)).toContain('"type":"area"');
    expect(JSON.stringify(spec)).toContain("mean of 2 seeds");
    expect(JSON.stringify(curves("accuracy", runs, "demo"))).not.toContain('"type":"area"');
  });

  it("can be drawn of one epoch, of losses near 0, and without validation", async () => {
    const one = finishedRun("plain", 1, {}, 1);
    const bare = {
      ...one,
      epochs: one.epochs.map(({ validationAccuracy, validationLoss, ...rest }) => rest),
    };
    for (const metric of ["accuracy", "loss"] as const) {
      const { svg } = await renderChart(curves(metric, [bare], "demo"));
      expect(svg).toContain(">Training<");
      expect(svg).not.toContain(">Validation<");
    }
    const steep = {
      ...one,
      epochs: [2, 0.1, 0.01].map((trainLoss, k) => ({ ...one.epochs[0], epoch: k + 1, trainLoss })),
    };
    const { svg } = await renderChart(curves("loss", [steep], "demo"));
    expect(svg).toContain("cross-entropy, log scale");
  });
});
