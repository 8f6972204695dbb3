import { Command } from "commander";
import { version } from "../train/environment.ts";
import { withExample } from "./common.ts";
import { dataCommand } from "./data.ts";
import { evalCommand } from "./eval.ts";
import { explainCommand } from "./explain.ts";
import { exportCommand } from "./export.ts";
import { importCommand } from "./import.ts";
import { modelCommand } from "./model.ts";
import { reportCommand } from "./report.ts";
import { resumeCommand } from "./resume.ts";
import { studyCommand } from "./study.ts";
import { trainCommand } from "./train.ts";

/** The command line; parsing it throws CommanderError instead of ending the process. */
export function program(): Command {
  const root = new Command("atento")
    .description("Train convolutional networks with and without attention, and compare them fairly.")
    .version(version)
    .showSuggestionAfterError();
  withExample(root, "atento study", "atento study original --dry-run", "atento help train");
  for (const command of [
    studyCommand(),
    trainCommand(),
    resumeCommand(),
    evalCommand(),
    explainCommand(),
    reportCommand(),
    exportCommand(),
    importCommand(),
    modelCommand(),
    dataCommand(),
  ]) {
    root.addCommand(command);
  }
  quiet(root);
  return root;
}

/** No ending of the process, and each mistake on one line, in this command and all below. */
function quiet(command: Command): void {
  command.exitOverride().configureOutput({
    outputError: (text, write) => write(`${text.trim().replaceAll(/\s*\n\s*/g, " ")}\n`),
  });
  command.commands.forEach(quiet);
}
