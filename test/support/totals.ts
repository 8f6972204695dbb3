import type { Reporter, TestModule } from "vitest/node";

/** Prints the totals on a line of their own, last of all. */
export default class Totals implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: string) => tests.filter((test) => test.result().state === state).length;
    const broken = modules.filter((module) => module.errors().length > 0).length;
    const skipped = count("skipped") > 0 ? `${count("skipped")} skipped\n` : "";
    process.stdout.write(
      `\n${skipped}${count("passed")} passed, ${count("failed") + broken + errors.length} failed\n`,
    );
  }
}
