import { dirname, join } from "node:path";
import { Command } from "commander";
import { makeFolder, writeDurably } from "../files/durable.ts";
import type { Language } from "../report/page/texts/index.ts";
import { readStudy } from "../report/study-record.ts";
import { studyTable } from "../report/table.ts";
import { writeReport, writtenPage } from "../report/write.ts";
import { UserError } from "../tensor/errors.ts";
import { answer, display, languageOption, type SharedOptions, withExample, withShared } from "./common.ts";

interface Options extends Pick<SharedOptions, "json"> {
  readonly to?: string;
  readonly lang: Language;
}

export function reportCommand(): Command {
  const command = withShared(new Command("report"))
    .description("write a study's report anew, also while it is trained; several studies on one page")
    .argument("<study...>", "the study's folder; several for one page with all of them")
    .option("--to <file>", "the page (default: report/index.html of the study, report.html for several)")
    .addOption(languageOption());
  withExample(
    command,
    "atento report runs/quick --lang es",
    "atento report runs/quick runs/cifar10 --to both.html",
  );
  return command.action(async (folders: string[], options: Options) => {
    const show = display();
    const progress = (text: string) => (show.live ? show.bars([{ label: "report", text }]) : undefined);
    try {
      await (folders.length === 1 ? one(folders[0], options, progress) : many(folders, options));
    } finally {
      show.clear();
    }
  });
}

async function one(folder: string, options: Options, onProgress: (text: string) => void): Promise<void> {
  const files = await writeReport(folder, { language: options.lang, page: options.to, onProgress });
  const { results } = await readStudy(folder);
  const table = results ? `${studyTable(results)}\n\n` : "";
  answer(options, { page: files[0], files, results }, `${table}${files[0]}`);
}

async function many(folders: readonly string[], options: Options): Promise<void> {
  if (new Set(folders).size < folders.length)
    throw new UserError("report: a study is named twice: name each once");
  const studies = await Promise.all(folders.map(readStudy));
  const page = options.to ?? join(".", "report.html");
  await makeFolder(dirname(page));
  await writeDurably(page, await writtenPage(studies, options.lang));
  answer(options, { page, studies: studies.map(({ file }) => file.name) }, page);
}
