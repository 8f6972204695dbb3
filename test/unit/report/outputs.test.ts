import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { crc32c } from "../../../src/report/crc32c.ts";
import { metricsCsv, tableCsv } from "../../../src/report/csv.ts";
import type { RunRecord } from "../../../src/report/study-record.ts";
import { studyLatex } from "../../../src/report/table.ts";
import { eventFile } from "../../../src/report/tensorboard.ts";
import { resultsOf } from "../../../src/study/results.ts";
import { finishedRun, runData } from "../study/support.ts";

const run = finishedRun("se, wide", 2, {}, 3);
const record: RunRecord = {
  folder: "se/seed-2",
  file: {
    ...{ atento: "0.1.0", settings: run.settings, environment: {}, status: "done" },
    startedAt: "2026-01-02T03:04:05.000Z",
  },
  epochs: run.epochs,
  timings: run.epochs.map(({ epoch }) => ({ epoch, elapsedMs: 1500 * epoch, imagesPerSecond: 300 })),
};

describe("CRC-32C", () => {
  it("has the published values", () => {
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
    // RFC 3720, B.4
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
    expect(crc32c(Buffer.alloc(32, 255))).toBe(0x62a8ab43);
    expect(crc32c(Buffer.from(Array.from({ length: 32 }, (_, k) => k)))).toBe(0x46dd794e);
  });
});

describe("a TensorBoard event file", () => {
  // tensorflow/core/util/event.proto and framework/summary.proto, the fields that scalars have
  const { root } = protobuf.parse(
    `
    syntax = "proto3";
    message Value { string tag = 1; float simple_value = 2; }
    message Summary { repeated Value value = 1; }
    message Event { double wall_time = 1; int64 step = 2; oneof what { string file_version = 3; Summary summary = 5; } }
  `,
    { keepCase: true },
  );
  const Event = root.lookupType("Event");

  /** Splits TFRecords, checking their checksums. */
  function recordsOf(file: Buffer): Buffer[] {
    const masked = (bytes: Buffer) => {
      const crc = crc32c(bytes);
      return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
    };
    const records: Buffer[] = [];
    for (let at = 0; at < file.length; ) {
      const length = Number(file.readBigUInt64LE(at));
      expect(file.readUInt32LE(at + 8)).toBe(masked(file.subarray(at, at + 8)));
      const content = file.subarray(at + 12, at + 12 + length);
      expect(file.readUInt32LE(at + 12 + length)).toBe(masked(content));
      records.push(content);
      at += 16 + length;
    }
    return records;
  }

  it("is read back by protobufjs", () => {
    const events = recordsOf(eventFile(record)).map((bytes) =>
      Event.toObject(Event.decode(bytes), { longs: Number }),
    );
    expect(events[0]).toMatchObject({ file_version: "brain.Event:2" });
    expect(events).toHaveLength(4);
    const [, , second] = events;
    expect(second["step"]).toBe(2);
    expect(second["wall_time"]).toBe(Date.parse("2026-01-02T03:04:08.000Z") / 1000);
    const values = Object.fromEntries(
      second["summary"].value.map((value: { tag: string; simple_value: number }) => [
        value.tag,
        value.simple_value,
      ]),
    );
    expect(Object.keys(values)).toEqual([
      ...["loss/train", "loss/validation", "accuracy/train", "accuracy/validation", "learning_rate"],
    ]);
    expect(values["accuracy/train"]).toBe(Math.fround(0.2));
    expect(values["loss/validation"]).toBe(Math.fround(2.2 - 0.2));
  });

  it("holds steps beyond 127 and no series that there is not", () => {
    const epochs = [{ epoch: 300, step: 1, lr: 0.5, trainLoss: 1, trainAccuracy: 0.5 }];
    const [, event] = recordsOf(eventFile({ ...record, epochs, timings: [] }));
    const { step, summary } = Event.toObject(Event.decode(event), { longs: Number });
    expect(step).toBe(300);
    expect(summary.value.map(({ tag }: { tag: string }) => tag)).toEqual([
      "loss/train",
      "accuracy/train",
      "learning_rate",
    ]);
  });
});

describe("CSV", () => {
  it("has a line an epoch", () => {
    const [head, first] = metricsCsv([record]).split("\r\n");
    expect(head).toBe("variant,seed,epoch,step,lr,trainLoss,trainAccuracy,validationLoss,validationAccuracy");
    expect(first).toBe('"se, wide",2,1,10,0.1,1.9,0.1,2.1,0.05');
  });

  it("has mean, deviation and interval of each figure", () => {
    const results = resultsOf(
      "s",
      runData,
      [finishedRun("plain", 1, { testAccuracy: 0.8 }), finishedRun("plain", 2, { testAccuracy: 0.9 })],
      "0",
    );
    const [, first] = tableCsv(results).split("\r\n");
    const [variant, figure, seeds, mean, deviation, low, high] = first.split(",");
    expect([variant, figure, seeds]).toEqual(["plain", "testAccuracy", "2"]);
    expect(Number(mean)).toBeCloseTo(0.85, 12);
    expect(Number(deviation)).toBeCloseTo(Math.SQRT2 / 20, 12);
    // t of one degree of freedom: 12.706205
    expect(Number(high) - Number(low)).toBeCloseTo(2 * 12.706205 * 0.05, 6);
    expect(tableCsv(results)).not.toContain("imagesPerSecond");
  });
});

it("the table in LaTeX is escaped, and the best is bold", () => {
  const results = resultsOf(
    "s",
    runData,
    [finishedRun("plain_1", 1, {}), finishedRun("se", 1, { testAccuracy: 0.9 })],
    "0",
  );
  const lines = studyLatex(results).split("\n");
  expect(lines).toContain("\\begin{tabular}{lrrrrrrr}");
  expect(lines.find((line) => line.startsWith("variant"))).toContain("test acc. \\% &");
  const rows = lines.filter((line) => /^(plain|se)/.test(line));
  expect(rows[0]).toMatch(/^plain\\_1 & .* & 75\.00 & .* \\\\$/);
  expect(rows[1]).toContain("& \\textbf{90.00} &");
});
