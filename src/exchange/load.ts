import { loadTrained, type Trained } from "../train/trained.ts";
import { type Given, readKeras } from "./keras/read.ts";

export const isKerasFile = (path: string): boolean => /\.(h5|hdf5)$/i.test(path);

/**
 * The trained model of a run's folder, of a model.safetensors or of a Keras .h5.
 * @param given what a .h5 does not say. @throws UserError as the format's own reader.
 */
export async function loadModel(path: string, given: Given = {}): Promise<Trained> {
  return isKerasFile(path) ? readKeras(path, given) : loadTrained(path);
}
