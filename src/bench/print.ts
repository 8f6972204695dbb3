import type { BenchSettings, Measurement, RecordTime } from "./measure.ts";

export interface Row {
  readonly settings: BenchSettings;
  /** Ours first. */
  readonly programs: readonly { readonly name: string; readonly median: Measurement }[];
  readonly profile?: readonly RecordTime[];
}

const number = (value: number, digits = 1) => value.toFixed(digits).padStart(8);

export function printRow({ settings: { stem, attention, batch }, programs: [ours, ...others] }: Row): void {
  const { median } = ours;
  console.log(`\nstem ${stem}, attention ${attention}, batch ${batch}`);
  console.log(`${"".padEnd(34)}   train    infer   memory     (images/s, images/s, MiB)`);
  for (const { name, median: m } of [ours, ...others]) {
    console.log(
      `  ${name.padEnd(32)}${number(m.trainImagesPerSecond)} ${number(m.inferImagesPerSecond)} ${number(m.peakRssMiB, 0)}`,
    );
  }
  if (others.length > 0) {
    const best = (key: "trainImagesPerSecond" | "inferImagesPerSecond") =>
      Math.max(...others.map((o) => o.median[key]));
    const least = Math.min(...others.map((o) => o.median.peakRssMiB));
    const train = median.trainImagesPerSecond / best("trainImagesPerSecond");
    const infer = median.inferImagesPerSecond / best("inferImagesPerSecond");
    console.log(
      `  ${"Atento over the best of them".padEnd(32)}${number(train, 2)} ${number(infer, 2)} ${number(median.peakRssMiB / least, 2)}`,
    );
  }
  const { gflops = 0, peakGflops = 0, shareOfPeak = 0 } = median;
  console.log(
    `  training at ${gflops.toFixed(0)} GFLOP/s, ${(100 * shareOfPeak).toFixed(0)} % of the ${peakGflops.toFixed(0)} measured on registers alone`,
  );
}

/** Time by kernel, then the slowest records. */
export function printProfile(profile: readonly RecordTime[], row: Row): void {
  const { batch } = row.settings;
  const step = (1000 * batch) / row.programs[0].median.trainImagesPerSecond;
  const explained = profile.reduce((sum, { ms }) => sum + ms, 0);
  const kernels = new Map<string, RecordTime[]>();
  for (const record of profile) kernels.set(record.kernel, [...(kernels.get(record.kernel) ?? []), record]);
  const total = (records: readonly RecordTime[], key: "gflops" | "gigabytesPerSecond") =>
    records.reduce((sum, r) => sum + (r[key] * r.ms) / 1000, 0);
  const line = (name: string, count: number, records: readonly RecordTime[]) => {
    const ms = records.reduce((sum, r) => sum + r.ms, 0);
    const rate = (key: "gflops" | "gigabytesPerSecond") => number((1000 * total(records, key)) / ms);
    console.log(
      `  ${name.padEnd(46)}${String(count).padStart(4)} ${number(ms, 2)} ${number((100 * ms) / step)} ${rate("gflops")} ${rate("gigabytesPerSecond")}`,
    );
    return ms;
  };
  const head = `  ${"kernel".padEnd(46)}   n       ms   % step  GFLOP/s     GB/s`;
  console.log(
    `\n  a step takes ${step.toFixed(1)} ms; the records explain ${((100 * explained) / step).toFixed(1)} %\n${head}`,
  );
  const sum = (records: readonly RecordTime[]) => records.reduce((ms, r) => ms + r.ms, 0);
  for (const [kernel, records] of [...kernels].sort((a, b) => sum(b[1]) - sum(a[1])))
    line(kernel, records.length, records);
  console.log(`\n${head}`);
  for (const record of [...profile].sort((a, b) => b.ms - a.ms).slice(0, 30)) {
    line(`${record.kernel} ${record.label}`, 1, [record]);
  }
}
