export type { AttentionSpec } from "./attention/spec.ts";
export { type ExplainOptions, type Explanation, explain } from "./cam/explain.ts";
export { type ClassTarget, Explainer, type Maps, type MapsRequest, type RawMaps } from "./cam/explainer.ts";
export { type Gate, gatesOf } from "./cam/gates.ts";
export { methods } from "./cam/methods/registry.ts";
export type { MethodScores, RunScores } from "./cam/record.ts";
export type { CamMethod } from "./cam/spec.ts";
export type { Dataset, Split } from "./data/dataset.ts";
export { loadDataset } from "./data/load.ts";
export { type DataSource, sourceFromText } from "./data/registry.ts";
export { createEngine, type EngineOptions } from "./engine/create.ts";
export type { Engine } from "./engine/engine.ts";
export { exportModel } from "./exchange/export.ts";
export { formats, loadModel } from "./exchange/formats.ts";
export { type ImportOptions, importModel } from "./exchange/import.ts";
export { type Architecture, isLayerGraph } from "./models/architecture.ts";
export type { LayerGraph } from "./models/layer-graph.ts";
export { type ModelOptions, resolveModel } from "./models/options.ts";
export type { ResNet } from "./models/resnet.ts";
export { type ReportOptions, writeReport } from "./report/write.ts";
export type { Comparison } from "./study/comparisons.ts";
export { loadStudy } from "./study/presets.ts";
export type { FinishedRun, StudyResults } from "./study/results.ts";
export { runStudy, type StudyOutcome, type StudyProgress, type StudyRequest } from "./study/run.ts";
export { parseStudy, type Study } from "./study/study.ts";
export { UserError } from "./tensor/errors.ts";
export { evaluateRun } from "./train/evaluate-run.ts";
export { loadTrained, type Trained } from "./train/trained.ts";
export { trainRun } from "./train/trainer.ts";
export type {
  EpochRecord,
  Evaluation,
  RunFigures,
  RunProgress,
  RunSettings,
  TrainRequest,
  TrainResult,
} from "./train/types.ts";
