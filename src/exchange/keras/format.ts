import type { Format } from "../format.ts";
import { readKeras, readKerasWeights } from "./read.ts";
import { writeKeras } from "./write.ts";

export const keras: Format = {
  name: "keras",
  about: "stock layers only, which load_model and load_weights of tf.keras 2 and Keras 3 read",
  extensions: [".h5", ".hdf5"],
  silent: true,
  files: [
    { name: "model.h5", write: (trained, path) => writeKeras(trained, path, { weightsOnly: false }) },
    { name: "weights.h5", write: (trained, path) => writeKeras(trained, path, { weightsOnly: true }) },
  ],
  read: readKeras,
  readWeights: readKerasWeights,
};
