import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { type DataSource, sourceFromText } from "../data/registry.ts";
import { dataSourceSchema } from "../data/schema.ts";
import { check, expectChecked } from "../study/issues.ts";
import { resolveData } from "../study/settings.ts";
import { UserError } from "../tensor/errors.ts";
import { readRunFile } from "../train/run-folder.ts";
import { type SharedOptions, withExample, withShared } from "./common.ts";
import { trainShown } from "./train.ts";

export function resumeCommand(): Command {
  const command = withShared(new Command("resume"), "data", "threads", "checkpointEvery")
    .description("go on with an interrupted run; --data tells where its data lie now, if elsewhere")
    .argument("<run>", "the run's folder");
  withExample(command, "atento resume runs/quick/se/seed-1");
  return command.action(async (folder: string, options: SharedOptions) => {
    const file = await readRunFile(folder);
    if (!file) {
      const study = existsSync(join(folder, "study.json"));
      throw new UserError(
        study
          ? `${folder}: is a study's folder: the command that began it, atento study, goes on with it`
          : `${folder}: holds no run (there is no run.json): expected a folder such as runs/quick/se/seed-1`,
      );
    }
    const { settings } = file;
    const source =
      options.data === undefined
        ? expectChecked(check(dataSourceSchema, settings.data.source, ["settings", "data", "source"]))
        : movedTo(sourceFromText(options.data), settings.data.source);
    await trainShown(folder, source, options, (dataset) => {
      const { validation, normalize } = settings.data;
      return { ...settings, data: resolveData({ source, validation, normalize }, dataset) };
    });
  });
}

/** Another place of the same data, with the settings that were made for it. */
function movedTo(place: DataSource, known: Readonly<Record<string, unknown>>): DataSource {
  return place.source === known["source"] ? ({ ...known, ...place } as DataSource) : place;
}
