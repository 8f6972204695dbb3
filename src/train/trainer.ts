import { makeFolder } from "../files/durable.ts";
import { FolderLock } from "../files/lock.ts";
import { SafetensorsFile } from "../formats/sealed.ts";
import { UserError } from "../tensor/errors.ts";
import { orInterrupted } from "./abort.ts";
import { describeAdoption, type Pretrained } from "./adopt.ts";
import { Checkpoints, readTrainedRun } from "./checkpoint.ts";
import { environmentOf, version } from "./environment.ts";
import { engineToGoOn } from "./kernels.ts";
import { runPaths } from "./run-data.ts";
import { readMetrics, readTest, refuseOtherRun, writeRunFile } from "./run-folder.ts";
import { openSession, type Session } from "./session.ts";
import { Training } from "./training.ts";
import type { RunFigures, RunFile, TrainRequest, TrainResult } from "./types.ts";

/**
 * Trains a run to its end, from its newest whole checkpoint when there is one: the final weights then have the
 * same bits as if it had never been interrupted.
 *
 * @throws UserError when the folder holds another run, is held by another process or cannot be written, when
 * settings and data do not fit, or when the machine lacks the memory; Diverged when the loss is no longer finite.
 */
export async function trainRun(asked: TrainRequest): Promise<TrainResult> {
  const { folder, settings, dataset, signal, onProgress } = asked;
  const finished = await finishedBefore(asked);
  if (finished) {
    await FolderLock.removeDead(folder);
    return finished;
  }
  if (signal?.aborted) return { status: "interrupted", epochs: [] };
  const onNote = (text: string) => onProgress?.({ kind: "note", text });
  const engine = engineToGoOn(await readTrainedRun(folder), asked.engine, onNote);
  const request = { ...asked, engine };
  const session = openSession(settings, dataset, engine, await startOf(request));
  if (session.adoption)
    onNote(`pretrained ${settings.pretrained?.file}: ${describeAdoption(session.adoption)}`);
  try {
    await makeFolder(folder);
    const lock = await orInterrupted(FolderLock.take(folder, { signal, onNote }), signal);
    if (!lock) return { status: "interrupted", epochs: [] };
    try {
      return await trainLocked(request, session, lock);
    } finally {
      await lock.release();
    }
  } finally {
    await session.close();
  }
}

/** The weights a run starts from, unless it goes on from a checkpoint or its seed says all. */
async function startOf({ folder, settings, pretrained }: TrainRequest): Promise<Pretrained | undefined> {
  if (!settings.pretrained || (await new Checkpoints(folder).steps()).length > 0) return undefined;
  if (!pretrained) throw new Error(`${folder}: nobody gives the weights of ${settings.pretrained.file}`);
  return pretrained();
}

async function trainLocked(request: TrainRequest, session: Session, lock: FolderLock): Promise<TrainResult> {
  const { folder, settings, engine } = request;
  const known = await knownRun(request); // what is there now that nobody else writes
  const startedAt = known?.startedAt ?? new Date().toISOString();
  const environment = environmentOf(engine);
  const write = (status: RunFile["status"], figures?: RunFigures) =>
    writeRunFile(folder, { atento: version, settings, environment, status, startedAt, figures });
  try {
    await write("running");
    const training = new Training(request, session, lock);
    const result = await training.run();
    await write(result.status, result.figures);
    return result;
  } catch (error) {
    // the cause matters more than that the record of it cannot be written; a folder that is another's now is left alone
    await lock
      .expectHeld()
      .then(() => write("failed"))
      .catch(() => undefined);
    throw error;
  }
}

/** run.json of a run that may be gone on with. @throws UserError when the folder holds another one. */
async function knownRun({ folder, settings }: TrainRequest): Promise<RunFile | undefined> {
  const known = await readTrainedRun(folder);
  if (known) refuseOtherRun(folder, known.settings, settings);
  else if ((await new Checkpoints(folder).steps()).length > 0) {
    throw new UserError(`${folder}: holds checkpoints, but no run.json that says of what: remove the folder`);
  }
  return known;
}

/** What a finished run came to; undefined when it is not finished, or not all of it is there. */
async function finishedBefore(request: TrainRequest): Promise<TrainResult | undefined> {
  const { folder, settings } = request;
  const known = await knownRun(request);
  if (known?.status !== "done" || known.settings.train.epochs !== settings.train.epochs) return undefined;
  // what is damaged of it is made again
  const [epochs, test] = [await readMetrics(folder).catch(() => []), await readTest(folder)];
  const hasModel = await SafetensorsFile.with(runPaths(folder).model, async () => true).catch(() => false);
  const { status, figures } = known;
  return figures && test && hasModel && epochs.length > 0 ? { status, epochs, figures, test } : undefined;
}
