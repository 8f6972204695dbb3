import { readFile } from "node:fs/promises";
import { shorten } from "../files/shorten.ts";
import { UserError } from "../tensor/errors.ts";
import { type Shape, sizeOf } from "../tensor/tensor.ts";
import { dtypes } from "./dtypes.ts";
import { aligned, Hdf5Bytes, NOWHERE } from "./hdf5-bytes.ts";
import { type ElementType, readShape, readTexts, readType } from "./hdf5-values.ts";

/** Numbers of a file, read when asked for. */
export interface Hdf5Dataset {
  readonly shape: Shape;
  readonly type: ElementType;
  /** @throws DamagedFile unless they are whole floats in one piece, as h5py writes them by default. */
  floats(): Float32Array;
}

const SIGNATURE = "\x89HDF\r\n\x1a\n";

/** Types of header messages. */
const DATASPACE = 0x01;
const LINK_INFO = 0x02;
const DATATYPE = 0x03;
const LINK = 0x06;
const LAYOUT = 0x08;
const ATTRIBUTE = 0x0c;
const CONTINUATION = 0x10;
const SYMBOL_TABLE = 0x11;
const ATTRIBUTE_INFO = 0x15;

interface Message {
  readonly type: number;
  readonly at: number;
  readonly bytes: number;
}

/**
 * The root group of an HDF5 file (format specification 3.0) of the kind that h5py and HDF5 write by default: numbers
 * in one piece, links and attributes in headers and symbol tables.
 * @throws UserError when it cannot be read, DamagedFile when it is no such file.
 */
export async function openHdf5(path: string): Promise<Hdf5Group> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`${path}: cannot be read (${error.message})`);
  });
  return parseHdf5(bytes, path);
}

/** @param where the file's path, for errors. */
export function parseHdf5(bytes: Buffer, where: string): Hdf5Group {
  const file = new Hdf5Bytes(bytes, where);
  if (bytes.toString("latin1", 0, 8) !== SIGNATURE) {
    throw file.refuse("its first bytes are not those of HDF5");
  }
  const version = file.uint(8, 1);
  const classic = version < 2;
  if (version > 3) throw file.refuse(`it is of version ${version}`);
  const [offsets, lengths] = file.slice(classic ? 13 : 9, 2);
  if (offsets !== 8 || lengths !== 8) throw file.refuse(`its addresses have ${offsets} bytes, not 8`);
  const base = classic ? 24 + 4 * version : 12;
  if (file.uint(base, 8) !== 0) throw file.refuse("it begins inside another file");
  const root = file.uint(classic ? base + 40 : base + 24, 8);
  return new Hdf5Group(file, root, "/");
}

/** Something that has attributes: a group or a dataset. */
export class Hdf5Group {
  readonly #file: Hdf5Bytes;
  readonly #messages: readonly Message[];
  readonly #path: string;
  #links: ReadonlyMap<string, number> | undefined;

  constructor(file: Hdf5Bytes, address: number, path: string) {
    this.#file = file;
    this.#path = path;
    this.#messages = [...messagesAt(file, address)];
  }

  /** Names of its groups and datasets. */
  get names(): string[] {
    return [...this.#members().keys()];
  }

  has(name: string): boolean {
    return this.#members().has(name);
  }

  /** The text of an attribute; undefined when there is none. @throws UserError when it is no text. */
  text(name: string): string | undefined {
    const texts = this.#attribute(name);
    return texts?.[0];
  }

  /** The texts of an attribute, which Keras cuts into `name0`, `name1`, … where they are too many for one. */
  texts(name: string): string[] | undefined {
    const whole = this.#attribute(name);
    if (whole) return whole;
    const pieces: string[][] = [];
    for (let piece = this.#attribute(`${name}0`); piece; piece = this.#attribute(`${name}${pieces.length}`)) {
      pieces.push(piece);
    }
    return pieces.length > 0 ? pieces.flat() : undefined;
  }

  /** A group below, by its path. */
  group(path: string): Hdf5Group | undefined {
    let found: Hdf5Group = this;
    for (const name of path.split("/")) {
      const address = found.#members().get(name);
      if (address === undefined) return undefined;
      found = new Hdf5Group(this.#file, address, `${found.#path}${name}/`);
    }
    return found;
  }

  /** A dataset below, by its path. */
  dataset(path: string): Hdf5Dataset | undefined {
    const found = this.group(path);
    if (!found) return undefined;
    const [space, type, layout] = [DATASPACE, DATATYPE, LAYOUT].map((wanted) =>
      found.#messages.find((message) => message.type === wanted),
    );
    if (!space || !type || !layout) return undefined;
    const file = this.#file;
    const shape = readShape(file, space.at);
    const element = readType(file, type.at);
    return { shape, type: element, floats: () => floatsOf(file, found.#path, layout, shape, element) };
  }

  #members(): ReadonlyMap<string, number> {
    this.#links ??= linksOf(this.#file, this.#messages, this.#path);
    return this.#links;
  }

  #attribute(wanted: string): string[] | undefined {
    const file = this.#file;
    for (const { type, at } of this.#messages) {
      if (type === ATTRIBUTE_INFO) expectNoHeap(file, at, "attributes", this.#path);
      if (type !== ATTRIBUTE) continue;
      const [version, flags] = file.slice(at, 2);
      const [nameBytes, typeBytes, spaceBytes] = [2, 4, 6].map((offset) => file.uint(at + offset, 2));
      const nameAt = at + (version === 3 ? 9 : 8);
      if (version < 1 || version > 3) throw file.refuse(`attribute of version ${version}`);
      if (file.name(nameAt, nameAt + nameBytes) !== wanted) continue;
      if (version > 1 && (flags & 3) !== 0) throw file.refuse(`attribute ${wanted} shares its type`);
      const whole = version === 1 ? aligned : (length: number) => length;
      const typeAt = nameAt + whole(nameBytes);
      const spaceAt = typeAt + whole(typeBytes);
      const valuesAt = spaceAt + whole(spaceBytes);
      const element = readType(file, typeAt);
      const texts = readTexts(file, valuesAt, element, readShape(file, spaceAt));
      if (!texts)
        throw file.refuse(`attribute ${shorten(wanted)} of ${this.#path} is ${element.name}, not text`);
      return texts;
    }
    return undefined;
  }
}

/** Messages of an object header of version 1 or 2, those of its continuations among them. */
function* messagesAt(file: Hdf5Bytes, address: number): Generator<Message> {
  const second = file.slice(address, 4).toString("latin1") === "OHDR";
  const flags = second ? file.uint(address + 5, 1) : 0;
  const blocks: { at: number; end: number }[] = [];
  if (second) {
    const sized = address + 6 + (flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0);
    const width = 1 << (flags & 3);
    const at = sized + width;
    blocks.push({ at, end: at + file.uint(sized, width) });
  } else {
    if (file.uint(address, 1) !== 1) throw file.refuse(`byte ${address} does not begin an object`);
    blocks.push({ at: address + 16, end: address + 16 + file.uint(address + 8, 4) });
  }
  const head = second ? 4 + (flags & 4 ? 2 : 0) : 8;
  for (const { at: first, end } of blocks) {
    for (let at = first; at + head <= end; ) {
      const type = file.uint(at, second ? 1 : 2);
      const bytes = file.uint(at + (second ? 1 : 2), 2);
      const shared = (file.uint(at + (second ? 3 : 4), 1) & 2) !== 0;
      at += head;
      if (shared && type !== 0) throw file.refuse(`byte ${at}: a message kept elsewhere`);
      if (type === CONTINUATION) {
        const [begin, length] = [file.uint(at, 8), file.uint(at + 8, 8)];
        if (second) file.expectSignature(begin, "OCHK", "the rest of an object");
        blocks.push(second ? { at: begin + 4, end: begin + length - 4 } : { at: begin, end: begin + length });
      } else yield { type, at, bytes };
      at += bytes;
    }
  }
}

/** What lies in a group: from its symbol table, or from its header. */
function linksOf(file: Hdf5Bytes, messages: readonly Message[], path: string): Map<string, number> {
  const links = new Map<string, number>();
  for (const { type, at } of messages) {
    if (type === LINK_INFO) expectNoHeap(file, at, "links", path);
    if (type === LINK) {
      const link = readLink(file, at);
      if (link) links.set(...link);
    }
    if (type === SYMBOL_TABLE) {
      const heap = file.uint(at + 8, 8);
      file.expectSignature(heap, "HEAP", "the names of a group");
      const names = file.uint(heap + 24, 8);
      const end = names + file.uint(heap + 8, 8);
      readTree(
        file,
        file.uint(at, 8),
        (name, address) => links.set(file.name(names + name, end), address),
        0,
      );
    }
  }
  return links;
}

/** Groups with many members keep them in another structure when a file asks for the newest format. */
function expectNoHeap(file: Hdf5Bytes, at: number, what: string, path: string): void {
  const flags = file.uint(at + 1, 1);
  const heap = at + 2 + (flags & 1 ? (what === "links" ? 8 : 2) : 0);
  if (file.uint(heap, 8) !== NOWHERE) {
    throw file.refuse(`${what} of ${path} are in HDF5's newer form: save it with libver="earliest"`);
  }
}

function readLink(file: Hdf5Bytes, at: number): [string, number] | undefined {
  const flags = file.uint(at + 1, 1);
  let next = at + 2;
  const kind = flags & 8 ? file.uint(next++, 1) : 0;
  next += (flags & 4 ? 8 : 0) + (flags & 16 ? 1 : 0);
  const width = 1 << (flags & 3);
  const length = file.uint(next, width);
  const name = file.slice(next + width, length).toString("utf8");
  return kind === 0 ? [name, file.uint(next + width + length, 8)] : undefined;
}

const DEEPEST = 16;

/** Walks a group's tree down to its symbols. */
function readTree(
  file: Hdf5Bytes,
  at: number,
  visit: (name: number, address: number) => void,
  depth: number,
): void {
  if (depth > DEEPEST) throw file.refuse("its parts lead in circles");
  file.expectSignature(at, "TREE", "a group's tree");
  const level = file.uint(at + 5, 1);
  const children = file.uint(at + 6, 2);
  for (let k = 0; k < children; k++) {
    const child = file.uint(at + 32 + 16 * k, 8);
    if (level > 0) {
      readTree(file, child, visit, depth + 1);
      continue;
    }
    file.expectSignature(child, "SNOD", "a group's symbols");
    const symbols = file.uint(child + 6, 2);
    for (let s = 0; s < symbols; s++) {
      const entry = child + 8 + 40 * s;
      visit(file.uint(entry, 8), file.uint(entry + 8, 8));
    }
  }
}

const CONTIGUOUS = 1;

function floatsOf(
  file: Hdf5Bytes,
  path: string,
  { at }: Message,
  shape: Shape,
  { kind, bytes, bigEndian, name }: ElementType,
): Float32Array {
  const where = path.slice(0, -1);
  const [version, layout] = file.slice(at, 2);
  if (kind !== "float" || bigEndian || ![2, 4, 8].includes(bytes)) {
    throw file.refuse(`${where} holds ${bigEndian ? "big-endian " : ""}${name}, expected floats`);
  }
  if ((version !== 3 && version !== 4) || layout > CONTIGUOUS) {
    throw file.refuse(`${where} is chunked or compressed, as Keras does not write it`);
  }
  const count = sizeOf(shape);
  const begin = layout === CONTIGUOUS ? file.uint(at + 2, 8) : at + 4;
  const room = layout === CONTIGUOUS ? file.uint(at + 10, 8) : file.uint(at + 2, 2);
  if (count * bytes > room) throw file.refuse(`${where} has ${room} bytes for ${count} numbers`);
  const piece = Uint8Array.from(file.slice(begin, count * bytes)).buffer;
  if (bytes === 8) return Float32Array.from(new Float64Array(piece));
  return bytes === 4 ? new Float32Array(piece) : Float32Array.from(dtypes.F16.decode(piece));
}
