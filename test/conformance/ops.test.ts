import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Op } from "../../src/ops/op.ts";
import { Random } from "../../src/random/random.ts";
import { ShapeError } from "../../src/tensor/errors.ts";
import { input } from "../../src/tensor/tensor.ts";
import { bitDifference, expectNone } from "../support/compare.ts";
import { gradientErrors } from "../support/differences.ts";
import { describeEngines, nativeFamilies } from "../support/engines.ts";
import { alongOps } from "./cases/fused.ts";
import { allCases } from "./cases/index.ts";
import { applied, type OpCase, type OpCases, oracleOf, valuesOf } from "./cases/types.ts";
import { expectedOf, prepareCase, type Result, resultErrors } from "./runCase.ts";

const isOp = (value: unknown): value is Op =>
  typeof value === "object" && value !== null && "reference" in value && "shape" in value && "vjp" in value;

const folder = new URL("../../src/ops/", import.meta.url);
const modules = await Promise.all(
  readdirSync(folder).map((file) => import(new URL(file, folder).href) as Promise<Record<string, unknown>>),
);
const ops = [...new Set(modules.flatMap((module) => Object.values(module).filter(isOp)))];

test("every op has conformance cases, and only once", () => {
  const covered = [...allCases.map(({ op }) => op as Op), ...alongOps];
  const missing = ops.filter((op) => !covered.includes(op));
  expect(missing.map(({ name }) => `op ${name} has no conformance cases`)).toEqual([]);
  expect(new Set(covered).size).toBe(covered.length);
  expect(allCases.filter(({ cases }) => cases.length === 0)).toEqual([]);
});

test("ops have names of their own", () => {
  expect(new Set(ops.map(({ name }) => name)).size).toBe(ops.length);
});

describe("shapes that do not fit are refused", () => {
  for (const { op, refusals } of allCases) {
    if (typeof refusals === "string") continue;
    test.each(refusals.map((refusal) => [refusal.says.join(", "), refusal] as const))(
      `${op.name}: %s`,
      (_, { shapes, attrs, says }) => {
        let message = "no error";
        try {
          op.shape(shapes, attrs);
        } catch (error) {
          expect(error).toBeInstanceOf(ShapeError);
          message = (error as ShapeError).message;
        }
        for (const part of [op.name, ...says]) expect(message).toContain(part);
      },
    );
  }
});

describe("derivatives agree with central differences", () => {
  for (const cases of allCases) {
    const { op, build } = cases;
    if (op.vjp === null || cases.cases.every(({ operands }) => operands.length === 0)) continue;
    const checked = cases.cases.filter(({ differentiate }) => differentiate.length > 0);
    test(op.name, () => {
      expect(checked.length, "cases with a derivative").toBeGreaterThan(0);
      const errors = checked.flatMap((at) => {
        const operands = at.operands.map(({ shape }, k) => input(`operand${k}`, shape));
        const y = build ? build(operands, at.attrs) : applied(cases, at, operands);
        const values = new Map(valuesOf(at).map((start, k) => [operands[k], start]));
        const targets = at.differentiate.map((k) => operands[k]);
        return gradientErrors(y, targets, values).map((error) => `${at.title}: ${error}`);
      });
      expectNone(errors);
    });
  }
});

/** Checks every case, both with operands that are fed and with operands that are variables. */
async function forEachForm(cases: OpCases, check: (at: OpCase, asVariables: boolean) => Promise<string[]>) {
  const errors: string[] = [];
  for (const at of cases.cases) {
    for (const asVariables of [false, true]) {
      const form = asVariables ? "operands as variables: " : "";
      errors.push(...(await check(at, asVariables)).map((error) => form + error));
    }
  }
  return errors;
}

describeEngines("the engine agrees with the oracle", (engine) => {
  for (const cases of allCases) {
    test(cases.op.name, async () => {
      const errors = await forEachForm(cases, async (at, asVariables) => {
        const { values, expected } = expectedOf(cases, at);
        const prepared = prepareCase(engine, cases, at, asVariables);
        const first = await prepared.run(values);
        const spoilt = prepared.spoilt(values).map((name) => `${at.title}: ${name} was overwritten`);
        const second = await prepared.run(values);
        prepared.close();
        const unequal = first.flatMap(({ name, values: once, shape }, k) => {
          const said = bitDifference(once, second[k].values, shape);
          return said ? [`${at.title}: ${name} differs between two runs: ${said}`] : [];
        });
        return [...resultErrors(cases, at, first, expected), ...spoilt, ...unequal];
      });
      expectNone(errors);
    });
  }
});

const special = (cases: OpCases): readonly number[] =>
  cases.infinities ? [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY] : [Number.NaN];

describeEngines("NaN reaches what it must, and nothing else", (engine) => {
  for (const cases of allCases) {
    test(cases.op.name, async () => {
      const errors: string[] = [];
      for (const at of cases.cases.filter(({ large }) => !large)) {
        const prepared = prepareCase(engine, cases, at, false);
        for (const [k, operand] of at.operands.entries()) {
          if (operand.indices) continue;
          for (const value of special(cases)) {
            const values = [...expectedOf(cases, at).values];
            const random = new Random("special", at.title, k, String(value));
            values[k] = Float32Array.from(values[k]);
            for (let count = 0; count < 2; count++) values[k][random.int(values[k].length)] = value;
            const results = await prepared.run(values);
            const allowed = cases.mayBeNaN?.(at, k, values);
            const said = resultErrors(cases, at, results, oracleOf(cases, at, values), allowed);
            errors.push(...said.map((error) => `${value} in operand ${k}: ${error}`));
          }
        }
        prepared.close();
      }
      expectNone(errors);
    });
  }
});

describe("bits do not depend on the number of threads", () => {
  for (const { isa, engines } of nativeFamilies) {
    for (const cases of allCases) {
      test(`${isa}: ${cases.op.name}`, async () => {
        const errors = await forEachForm(cases, async (at, asVariables) => {
          const { values } = expectedOf(cases, at);
          const all: Result[][] = [];
          for (const { engine } of engines) {
            const prepared = prepareCase(engine, cases, at, asVariables);
            all.push(await prepared.run(values));
            prepared.close();
          }
          return all.slice(1).flatMap((results, count) =>
            results.flatMap(({ name, values: other, shape }, k) => {
              const said = bitDifference(all[0][k].values, other, shape);
              return said ? [`${at.title}: ${name} with 1 and ${count + 2} threads: ${said}`] : [];
            }),
          );
        });
        expectNone(errors);
      });
    }
  }
  if (nativeFamilies.length === 0) test.skip("needs the native engine", () => {});
});
