// Preloaded into a process: one of its threads, DIES=data or DIES=checkpoints, ends instead of its answer AFTER others.
import { isMainThread, parentPort, workerData } from "node:worker_threads";

const is = { data: workerData?.plan?.shuffle, checkpoints: workerData?.snapshot };
let left = Number(process.env.AFTER);
if (!isMainThread && is[process.env.DIES]) {
  const answer = parentPort.postMessage.bind(parentPort);
  parentPort.postMessage = (message) => (left-- > 0 ? answer(message) : process.exit(7));
}
