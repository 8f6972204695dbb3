import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take longest, so that none of them is left to run alone at the end. */
const LONGEST = [
  "e2e/faults",
  "e2e/study",
  "conformance/ops",
  "parity/golden",
  "e2e/cli",
  "e2e/crash",
  "e2e/page",
  "e2e/exchange",
  "e2e/explain",
  "unit/hostile",
];

/** Starts the longest files first; a fresh clone has no times of earlier runs to order them by. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONGEST.findIndex((name) => moduleId.endsWith(`test/${name}.test.ts`));
      return at < 0 ? LONGEST.length : at;
    };
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b));
  }
}
