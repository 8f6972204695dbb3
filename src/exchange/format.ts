import type { Normalization } from "../data/dataset.ts";
import type { Pretrained } from "../train/adopt.ts";
import type { Trained } from "../train/trained.ts";

/** What a file of another program may not say, and its user can. */
export interface Given {
  readonly classes?: readonly string[];
  readonly normalization?: Normalization;
  /** [height, width], where the model takes any. */
  readonly image?: readonly [number, number];
}

/** What a user may say of an export. */
export interface ExportOptions {
  /** Layer whose map ONNX files show, or none of it; the last that is no single pixel by default. */
  readonly map?: string | false;
  /** Folder of the run the model was trained by: its optimiser goes along where a format has a place for it. */
  readonly run?: string;
  /** And the optimiser's state, where a checkpoint has it of these very weights. */
  readonly optimizerState?: boolean;
}

/** A file that a format writes into a folder. */
export interface ExportedFile {
  /** Such as `model.onnx`. */
  readonly name: string;
  /** Equal models and options give equal bytes. */
  write(trained: Trained, path: string, options: ExportOptions): Promise<void>;
}

/** A kind of model file. */
export interface Format {
  /** On the command line. */
  readonly name: string;
  /** One line for people. */
  readonly about: string;
  /** How the names of its files end, with the dot. */
  readonly extensions: readonly string[];
  /** Whether its files may not say what `Given` has. */
  readonly silent?: boolean;
  readonly files: readonly ExportedFile[];
  /** @throws UserError when the file is none of these, or its tensors do not fit its architecture, listing them. */
  read(path: string, given?: Given): Promise<Trained>;
  /**
   * Puts the weights of a file that holds nothing else into a model.
   * @throws UserError listing the tensors that do not fit.
   */
  readWeights?(path: string, into: Trained): Promise<Trained>;
  /** All tensors of a file by name, whatever model it is of; those of `read` where a format does not say otherwise. */
  tensors?(path: string): Promise<Pretrained>;
}
