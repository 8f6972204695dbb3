import type { ExportedFile, Format } from "../format.ts";
import { readKeras, readKerasWeights } from "./read.ts";

/** Loaded when it is asked for: it knows optimisers, which who only reads models does without. */
const write =
  (weightsOnly: boolean): ExportedFile["write"] =>
  async (trained, path, { run, optimizerState = false }) => {
    const [{ writeKeras }, { trainingOf, trainingWithState }] = await Promise.all([
      import("./write.ts"),
      import("./training.ts"),
    ]);
    const without = () => (run === undefined ? undefined : trainingOf(run, trained, false));
    const training = optimizerState ? trainingWithState(run, trained) : without();
    return writeKeras(trained, path, { weightsOnly, training: await training });
  };

export const keras: Format = {
  name: "keras",
  about: "stock layers only, which load_model and load_weights of tf.keras 2 and Keras 3 read",
  extensions: [".h5", ".hdf5"],
  silent: true,
  files: [
    { name: "model.h5", write: write(false) },
    { name: "weights.h5", write: write(true) },
  ],
  read: readKeras,
  readWeights: readKerasWeights,
};
