import { replaceDurably } from "../files/durable.ts";
import { UserError } from "../tensor/errors.ts";
import type { Shape } from "../tensor/tensor.ts";

/** What an HDF5 file holds, as a tree. */
export interface NewGroup {
  readonly attributes?: Readonly<Record<string, string | readonly string[]>>;
  readonly groups?: ReadonlyMap<string, NewGroup>;
  readonly datasets?: ReadonlyMap<string, NewDataset>;
}

export interface NewDataset {
  readonly shape: Shape;
  /** float32, or int64. */
  readonly values: Float32Array | BigInt64Array;
}

/** Bytes of texts that an object's header has room for; what is longer is cut into `name0`, `name1`, … as Keras does. */
const HEADER_LIMIT = 64512;

/**
 * Replaces a file by an HDF5 file in the oldest form, which every reader of HDF5 knows.
 * @throws UserError with the path when it cannot be written.
 */
export async function writeHdf5(path: string, root: NewGroup): Promise<void> {
  const h5wasm = (await import("h5wasm/node")).default;
  const { activate_throwing_error_handler: throwErrors } = await h5wasm.ready;
  throwErrors(); // instead of printing them and going on
  await replaceDurably(path, async (_, temporary) => {
    try {
      const file = new h5wasm.File(temporary, "w", { libver: ["earliest", "v108"] });
      try {
        writeGroup(file, root);
      } finally {
        file.close();
      }
    } catch (error) {
      // what the library says of a full disk
      const cause = /errno = \d+, error message = '([^']*)'/.exec(String(error))?.[1];
      throw cause === undefined
        ? error
        : new UserError(`${path}: cannot be written: ${cause}`, { cause: error });
    }
  });
}

type Group = InstanceType<typeof import("h5wasm/node").Group>;

function writeGroup(
  group: Group,
  { attributes = {}, groups = new Map(), datasets = new Map() }: NewGroup,
): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "string") group.create_attribute(name, value);
    else writeTexts(group, name, value);
  }
  for (const [path, { shape, values }] of datasets) {
    const [name, parent] = [path.slice(path.lastIndexOf("/") + 1), path.slice(0, path.lastIndexOf("/") + 1)];
    const folder = parent === "" ? group : (folderAt(group, parent.slice(0, -1)) as Group);
    folder.create_dataset({ name, data: values, shape: [...shape] });
  }
  for (const [name, inner] of groups) writeGroup(folderAt(group, name), inner);
}

function folderAt(group: Group, path: string): Group {
  return path
    .split("/")
    .reduce(
      (at, name) => (at.keys().includes(name) ? (at.get(name) as Group) : at.create_group(name)),
      group,
    );
}

/** Texts as NumPy keeps them: each as long as the longest. Like `numpy.array_split`, pieces differ by one text at the most. */
function writeTexts(group: Group, name: string, texts: readonly string[]): void {
  if (texts.length === 0) {
    group.create_attribute(name, new Float64Array(0), [0]);
    return;
  }
  const longest = Math.max(1, ...texts.map((text) => Buffer.byteLength(text)));
  let pieces = 1;
  while (Math.ceil(texts.length / pieces) * longest > HEADER_LIMIT) pieces++;
  const [size, larger] = [Math.floor(texts.length / pieces), texts.length % pieces];
  for (let k = 0, at = 0; k < pieces; k++) {
    const count = size + (k < larger ? 1 : 0);
    const piece = texts.slice(at, at + count);
    group.create_attribute(pieces === 1 ? name : `${name}${k}`, piece, [count], `S${longest}`);
    at += count;
  }
}
