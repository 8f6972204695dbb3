import { rate } from "../report/numbers.ts";
import { type Column, textTable } from "../report/text-table.ts";
import { trainingStep, type Variant, type Workload } from "./measure.ts";
import { middle } from "./turns.ts";

/** What attention costs in training. */
export interface CostWorkload extends Omit<Workload, "attention"> {
  /** Those after the first are compared with it. */
  readonly attention: readonly string[];
}

export interface Cost {
  readonly attention: string;
  /** Milliseconds of a step. */
  readonly median: number;
  readonly best: number;
  /** Speed over that of the first: median of the steps in pairs, and best over best. */
  readonly pairs: number;
  readonly bests: number;
}

/**
 * Takes training steps of several variants in turns in one process, where they differ by less than two processes do.
 * Each has a step that is not timed before the one that is, to find its own values in the caches.
 */
export async function measureCost(
  { attention, steps, ...workload }: CostWorkload,
  variant: Variant,
  tell: (step: number) => void = () => {},
): Promise<Cost[]> {
  const variants = attention.map((name) => {
    const { run, store } = trainingStep({ ...workload, attention: name }, variant);
    return { name, run, store, times: [] as number[] };
  });
  for (const { run } of variants) await run();
  for (let k = 0; k < steps; k++) {
    tell(k);
    for (const { run, times } of variants) {
      await run();
      const start = performance.now();
      await run();
      times.push(performance.now() - start);
    }
  }
  for (const { store } of variants) store.close();
  const [{ times: first }] = variants;
  return variants.map(({ name, times }) => ({
    attention: name,
    median: middle(times),
    best: Math.min(...times),
    pairs: middle(times.map((time, k) => first[k] / time)),
    bests: Math.min(...first) / Math.min(...times),
  }));
}

export function costText({ stem, batch, threads, steps }: CostWorkload, costs: readonly Cost[]): string {
  const [{ attention: first }] = costs;
  const columns: Column<Cost>[] = [
    { title: "attention", cell: ({ attention }) => attention },
    { title: "ms a step", align: "right", cell: ({ median }) => rate(median) },
    { title: "best", align: "right", cell: ({ best }) => rate(best) },
    { title: `speed over ${first}`, align: "right", cell: ({ pairs }) => pairs.toFixed(3) },
    { title: "best over best", align: "right", cell: ({ bests }) => bests.toFixed(3) },
  ];
  const title = `resnet50, stem ${stem}, batch ${batch}, ${threads} threads, ${steps} steps of each in turns`;
  return `${title}\n${textTable(columns, costs)}`;
}
