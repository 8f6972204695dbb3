#!/usr/bin/env node
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { Random } from "../random/random.ts";
import { CLOCK, differences } from "./compare.ts";
import { type Kill, type Session, session } from "./sessions.ts";

interface Options {
  readonly kills: number;
  readonly seed: number;
}

const { kills, seed } = new Command("crash")
  .description(
    "Starts trainings, kills each by SIGKILL at a random instant or between two operations on files, goes on until it is done, and compares with one that was not killed.",
  )
  .option("--kills <n>", "trainings to kill, each at least once", Number, 100)
  .option("--seed <n>", "of the instants", Number, 1)
  .addHelpText("after", "\nExample: npm run crash -- --kills 20")
  .parse()
  .opts<Options>();

const MOST_KILLS = 3;

/** Draws when to kill; every other training at first between two operations, half of those within a write. */
function drawKill(random: Random, whole: Session, atOperation: boolean): Kill {
  if (!atOperation) return { afterMs: random.uniform(0, whole.ms) };
  return { operation: 1 + random.int(whole.operations), half: random.int(2) === 0 };
}

/** Kills a training up to three times, and lets it end; the sessions that were killed. */
async function trial(folder: string, random: Random, whole: Session, index: number): Promise<Session[]> {
  const killed: Session[] = [];
  const wanted = 1 + random.int(MOST_KILLS);
  while (killed.length < wanted) {
    const kill = drawKill(random, whole, (index + killed.length) % 2 === 0);
    const ended = await session(folder, 1 + random.int(2), kill);
    if (ended.killed) killed.push(ended);
    else if (killed.length > 0)
      return killed; // the rest was too short to be killed again
    else empty(folder);
  }
  await session(folder, 1 + random.int(2));
  return killed;
}

function empty(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
}

async function main(root: string): Promise<boolean> {
  const wholeFolder = join(root, "whole");
  empty(wholeFolder);
  const whole = await session(wholeFolder, 2);
  console.log(
    `one training without a kill: ${(whole.ms / 1000).toFixed(1)} s, ${whole.operations} operations that change files`,
  );
  const killed: Session[] = [];
  let equal = 0;
  for (let index = 0; index < kills; index++) {
    const folder = join(root, `killed-${index}`);
    empty(folder);
    killed.push(...(await trial(folder, new Random("crash", seed, index), whole, index)));
    const found = differences(folder, wholeFolder);
    if (found.length === 0) {
      equal++;
      rmSync(folder, { recursive: true });
    } else console.log(`training ${index}: differs: ${found.join(", ")}; kept in ${folder}`);
    if ((index + 1) % 10 === 0) console.log(`${equal} of ${index + 1} equal`);
  }
  const between = killed.filter(({ within }) => within !== undefined);
  const inCheckpoints = between.filter(({ within }) => within?.includes("/checkpoints/"));
  console.log(
    `${killed.length} kills: ${killed.length - between.length} at random instants, ${between.length} between two ` +
      `operations on files, ${inCheckpoints.length} of these in the writing of a checkpoint`,
  );
  console.log(
    `${equal} of ${kills} equal, byte for byte: model.safetensors and its exports, metrics.jsonl, test.json, maps and their scores, the variables of the last ` +
      `checkpoint, report/table.md; results.json without ${CLOCK.join(" and ")}, which the clock gives, as it does ` +
      "timings.jsonl and speed.md",
  );
  return equal === kills;
}

const root = mkdtempSync(join(tmpdir(), "atento-crash-"));
const good = await main(root);
if (good) rmSync(root, { recursive: true });
process.exitCode = good ? 0 : 1;
