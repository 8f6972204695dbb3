import { crc32c } from "./crc32c.ts";
import type { RunRecord } from "./study-record.ts";

/** Wire types of protocol buffers. */
const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

const key = (field: number, wire: number) => Buffer.of((field << 3) | wire);

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}

function bytes(field: number, content: Uint8Array): Buffer {
  return Buffer.concat([key(field, WIRE.bytes), varint(content.length), content]);
}

function double(field: number, value: number): Buffer {
  const content = Buffer.alloc(8);
  content.writeDoubleLE(value);
  return Buffer.concat([key(field, WIRE.fixed64), content]);
}

function float(field: number, value: number): Buffer {
  const content = Buffer.alloc(4);
  content.writeFloatLE(value);
  return Buffer.concat([key(field, WIRE.fixed32), content]);
}

/** A record of TensorFlow's: length, masked checksum of the length, content, masked checksum of the content. */
function record(content: Buffer): Buffer {
  const head = Buffer.alloc(12);
  head.writeBigUInt64LE(BigInt(content.length));
  head.writeUInt32LE(masked(head.subarray(0, 8)), 8);
  const tail = Buffer.alloc(4);
  tail.writeUInt32LE(masked(content));
  return Buffer.concat([head, content, tail]);
}

/** Checksums of data that hold checksums themselves would be weak: TensorFlow turns and shifts them. */
function masked(content: Uint8Array): number {
  const crc = crc32c(content);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

const SERIES = {
  trainLoss: "loss/train",
  validationLoss: "loss/validation",
  trainAccuracy: "accuracy/train",
  validationAccuracy: "accuracy/validation",
  lr: "learning_rate",
} as const;

/**
 * A run's epochs as a TensorBoard event file (tensorflow/core/util/event.proto): an Event each, with wall_time = 1,
 * step = 2, file_version = 3, summary = 5; in the summary, values with tag = 1 and simple_value = 2.
 */
export function eventFile({ file, epochs, timings }: Pick<RunRecord, "file" | "epochs" | "timings">): Buffer {
  const began = Date.parse(file.startedAt) / 1000 || 0;
  const records = [record(Buffer.concat([double(1, began), bytes(3, Buffer.from("brain.Event:2"))]))];
  for (const epoch of epochs) {
    const timing = timings.find((timing) => timing.epoch === epoch.epoch);
    const values = (Object.keys(SERIES) as (keyof typeof SERIES)[]).flatMap((name) => {
      const value = epoch[name];
      return value === undefined
        ? []
        : [bytes(1, Buffer.concat([bytes(1, Buffer.from(SERIES[name])), float(2, value)]))];
    });
    const step = Buffer.concat([key(2, WIRE.varint), varint(epoch.epoch)]);
    const time = double(1, began + (timing?.elapsedMs ?? 0) / 1000);
    records.push(record(Buffer.concat([time, step, bytes(5, Buffer.concat(values))])));
  }
  return Buffer.concat(records);
}
