import { UserError } from "../tensor/errors.ts";
import { holdOut } from "./division.ts";
import type { Listing } from "./imageFiles.ts";

export interface LabelledFile {
  readonly path: string;
  readonly label: number;
}

export interface ClassFolders {
  /** Sorted folder names; a label is an index into them. */
  readonly classes: readonly string[];
  readonly train: readonly LabelledFile[];
  readonly test: readonly LabelledFile[];
  /** What was left aside, one line each. */
  readonly notes: readonly string[];
}

export interface SplitOptions {
  /** Test images when there is no test folder: a share below 1, or a number of images. */
  readonly test: number;
  readonly seed: number;
}

const TEST_FOLDERS = ["test", "val", "valid", "validation"];
const IMAGE = /\.(jpe?g|png|webp|gif|tiff?|avif|heic|jp2|bmp)$/i;

/**
 * Finds classes in a tree: `train/CLASS/…` with `test/CLASS/…` (or `val/`), else `CLASS/…`, of which a seeded,
 * stratified share becomes the test set. One folder around everything is looked through. Throws UserError,
 * starting with `where`, when the tree is no such data set.
 */
export function findClassFolders(listing: Listing, options: SplitOptions, where: string): ClassFolders {
  const fail = (problem: string): never => {
    throw new UserError(`${where}: ${problem}`);
  };
  const root = wrapper(listing);
  const files = listing.files.filter((path) => path.startsWith(root)).map((path) => path.slice(root.length));
  if (files.length === 0) fail("no images: expected class folders, such as cat/1.jpg, or train/cat/1.jpg");

  const directories = listing.directories
    .filter((path) => path.startsWith(root))
    .map((p) => p.slice(root.length));
  const folders = new Set(files.filter((path) => path.includes("/")).map((path) => path.split("/")[0]));
  const divided = isSplitFolder("train", files);
  const testFolder = TEST_FOLDERS.find((name) => isSplitFolder(name, files));
  if (!divided && testFolder)
    fail(`has ${testFolder}/ but no train/: add train/ with the same class folders`);

  const collect = (inside: string) => imagesByClass(files, directories, inside, fail);
  const train = collect(divided ? "train/" : "");
  const classes = [...train.keys()].sort();
  if (classes.length === 0)
    fail("its images lie in no class folder: put each into one named after its class");
  if (classes.length === 1) fail(`only one class, ${classes[0]}: expected at least two class folders`);
  if (classes.length > 65_536) fail(`${classes.length} classes: at most 65,536 are possible`);

  const label = (images: Map<string, string[]>): LabelledFile[] =>
    classes.flatMap((name, i) => (images.get(name) ?? []).map((path) => ({ path: root + path, label: i })));
  const notes = leftAside(files, folders, divided ? ["train", testFolder ?? ""] : [...folders]);
  if (!divided || !testFolder)
    return { classes, notes, ...chooseTest(label(train), classes, options, where) };

  const test = collect(`${testFolder}/`);
  const unknown = [...test.keys()].filter((name) => !train.has(name)).sort();
  if (unknown.length > 0) {
    fail(
      `${testFolder}/ has class ${unknown.join(", ")}, which train/ has not: add it there or remove it here`,
    );
  }
  const untested = classes.filter((name) => !test.has(name));
  if (untested.length > 0) notes.push(`${testFolder}/ has no images of ${untested.join(", ")}`);
  return { classes, notes, train: label(train), test: label(test) };
}

/** `train` is a part only when it holds class folders: with images directly inside it is a class of that name. */
function isSplitFolder(name: string, files: readonly string[]): boolean {
  const inside = files.filter((path) => path.startsWith(`${name}/`));
  return inside.length > 0 && inside.some((path) => path.split("/").length >= 3);
}

/** The one folder, with its slash, around class folders or train/ and test/; empty when there is none. */
function wrapper({ files }: Listing): string {
  const images = files.some((path) => IMAGE.test(path)) ? files.filter((path) => IMAGE.test(path)) : files;
  if (images.length === 0) return "";
  const first = images[0].split("/")[0];
  if (first === "train" || TEST_FOLDERS.includes(first)) return "";
  const around = images.every((path) => path.startsWith(`${first}/`) && path.split("/").length >= 3);
  return around ? `${first}/` : "";
}

function imagesByClass(
  files: readonly string[],
  directories: readonly string[],
  inside: string,
  fail: (problem: string) => never,
): Map<string, string[]> {
  const images = new Map<string, string[]>();
  for (const path of files) {
    if (!path.startsWith(inside)) continue;
    const [name, ...rest] = path.slice(inside.length).split("/");
    if (rest.length > 0) {
      const members = images.get(name);
      if (members) members.push(path);
      else images.set(name, [path]);
    } else if (inside && IMAGE.test(name)) fail(`${path} lies in no class folder: move it into one`);
  }
  for (const path of directories) {
    const name = path.slice(inside.length);
    if (!path.startsWith(inside) || name.includes("/") || images.has(name)) continue;
    fail(`class folder ${path}/ holds no image: put images there or remove it`);
  }
  return images;
}

function leftAside(
  files: readonly string[],
  folders: ReadonlySet<string>,
  used: readonly string[],
): string[] {
  const notes = [...folders].filter((name) => !used.includes(name)).map((name) => `${name}/ is left aside`);
  const loose = files.filter((path) => !path.includes("/") && IMAGE.test(path));
  if (loose.length > 0)
    notes.push(`${loose.length} images outside class folders are left aside (${loose[0]} …)`);
  return notes;
}

function chooseTest(
  files: LabelledFile[],
  classes: readonly string[],
  { test, seed }: SplitOptions,
  where: string,
) {
  const count = test < 1 ? Math.max(1, Math.round(files.length * test)) : test;
  const labels = Uint16Array.from(files, (file) => file.label);
  try {
    if (count >= files.length) {
      throw new UserError(
        `test: ${count} test images asked for, but there are ${files.length} in all: ask for fewer`,
      );
    }
    const held = holdOut(labels, classes, count, "test", seed);
    return { train: files.filter((_, i) => !held[i]), test: files.filter((_, i) => held[i]) };
  } catch (error) {
    throw error instanceof UserError ? new UserError(`${where}: ${error.message}`) : error;
  }
}
