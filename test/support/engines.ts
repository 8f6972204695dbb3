import { readFileSync } from "node:fs";
import { describe, test } from "vitest";
import { createEngine, type EngineOptions } from "../../src/engine/create.ts";
import type { Engine } from "../../src/engine/engine.ts";

export interface TestEngine {
  readonly title: string;
  readonly engine: Engine;
}

type InstructionSet = NonNullable<EngineOptions["isa"]>;

const requireNative = process.env["ATENTO_REQUIRE_NATIVE"] === "1";

/** Why there is no native engine here, or undefined when there is one. */
export const nativeAbsence: string | undefined = (() => {
  try {
    const { name, description } = createEngine({ engine: "native", threads: 1 });
    return name === "native" ? undefined : `createEngine gave the ${description}`;
  } catch (error) {
    return (error as Error).message;
  }
})();

/** Instruction sets of the processor, worst first, whether or not the addon agrees. */
function instructionSets(): InstructionSet[] {
  const has = (flag: string) => {
    try {
      return new RegExp(`^flags.*\\b${flag}\\b`, "m").test(readFileSync("/proc/cpuinfo", "utf8"));
    } catch {
      return false;
    }
  };
  const sets: InstructionSet[] = ["baseline"];
  if (has("avx2") && has("fma")) sets.push("avx2");
  if (has("avx512f") && has("avx512vl") && has("avx512dq") && has("avx512bw")) sets.push("avx512");
  return sets;
}

function nativeEngine(isa: InstructionSet, threads: number): TestEngine {
  return {
    title: `native ${isa}, ${threads} thread${threads > 1 ? "s" : ""}`,
    engine: createEngine({ engine: "native", isa, threads }),
  };
}

const counts = [1, 2, 3] as const;

/** For each instruction set, the native engine with 1, 2 and 3 threads; nothing where it is not built. */
export const nativeFamilies: readonly {
  readonly isa: InstructionSet;
  readonly engines: readonly TestEngine[];
}[] =
  nativeAbsence === undefined
    ? instructionSets().map((isa) => ({ isa, engines: counts.map((threads) => nativeEngine(isa, threads)) }))
    : [];

/** The reference engine, and the native one with each instruction set, two threads each. */
export const engines: readonly TestEngine[] = [
  { title: "reference", engine: createEngine({ engine: "reference" }) },
  ...nativeFamilies.map((family) => family.engines[1]),
];

/** The reference engine, and the native one as people get it. */
export const principalEngines: readonly TestEngine[] = [
  engines[0],
  ...(nativeAbsence === undefined
    ? [{ title: "native", engine: createEngine({ engine: "native", threads: 2 }) }]
    : []),
];

/** Says in the test report that the native engine is missing; with ATENTO_REQUIRE_NATIVE=1 that is a failure. */
export function reportNativeAbsence(): void {
  if (requireNative) {
    test("the native engine is required by ATENTO_REQUIRE_NATIVE", () => {
      throw new Error(nativeAbsence);
    });
  } else {
    describe.skip(`native engine: ${nativeAbsence}`, () => {
      test("is not tested", () => {});
    });
  }
}

/** Declares the same tests for each of `list`, and says so when the native engine is missing. */
export function describeEngines(
  title: string,
  body: (engine: Engine, title: string) => void,
  list: readonly TestEngine[] = engines,
): void {
  for (const { title: name, engine } of list) describe(`${title}: ${name}`, () => body(engine, name));
  if (nativeAbsence !== undefined) describe(title, reportNativeAbsence);
}
