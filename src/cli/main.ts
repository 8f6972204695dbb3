#!/usr/bin/env node
import { leave } from "../engine/create.ts";
import { endingOf, Interrupted } from "./errors.ts";
import { sameCommand } from "./interrupt.ts";
import { program } from "./program.ts";

function end(error: unknown): never {
  const { code, text } = endingOf(error);
  if (text) process.stderr.write(`${text}\n`);
  if (!(error instanceof Interrupted)) process.exit(code);
  process.stderr.write(`to go on: ${sameCommand()}\n`);
  return leave(code);
}

// A reader that has seen enough, such as head, is no defect; nobody listening to progress neither.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(process.exitCode ?? 0);
  end(error);
});
process.stderr.on("error", () => {});
process.on("uncaughtException", end);
process.on("unhandledRejection", end);

try {
  await program().parseAsync();
} catch (error) {
  end(error);
}
