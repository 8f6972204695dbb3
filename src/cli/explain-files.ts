import { join } from "node:path";
import sharp from "sharp";
import type { Options } from "../attention/spec.ts";
import { colormaps } from "../cam/draw/colormaps.ts";
import { npy } from "../cam/draw/npy.ts";
import { colored, overlaid, type Picture } from "../cam/draw/overlay.ts";
import { type Cell, drawSheet } from "../cam/draw/sheet.ts";
import { mean, predictedAgainst } from "../cam/explain.ts";
import { type ClassTarget, Explainer, type Maps } from "../cam/explainer.ts";
import { type GateSummary, gatesOf, gatesOfImage, summarizeGates } from "../cam/gates.ts";
import type { InputImage } from "../cam/images.ts";
import { softmax } from "../cam/judge.ts";
import { clipped, finished } from "../cam/map.ts";
import { normalized } from "../cam/sample.ts";
import type { CamMethod } from "../cam/spec.ts";
import type { Engine } from "../engine/engine.ts";
import { makeFolder, writeDurably } from "../files/durable.ts";
import { percent } from "../report/numbers.ts";
import { type Column, textTable } from "../report/text-table.ts";
import { UserError } from "../tensor/errors.ts";
import type { Trained } from "../train/trained.ts";

export interface Network {
  /** Of the variant. */
  readonly name: string;
  readonly trained: Trained;
}

export interface ExplainRequest {
  readonly networks: readonly Network[];
  readonly images: readonly InputImage[];
  readonly methods: readonly { readonly method: CamMethod; readonly options: Options }[];
  readonly layers?: readonly string[];
  /** The predicted class when absent. */
  readonly target: Partial<ClassTarget>;
  readonly engine: Engine;
  readonly colormap: string;
  readonly alpha: number;
  readonly folder: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (text: string, fraction: number) => void;
}

/** What one network says of one image. */
interface Seen {
  readonly predicted: number;
  readonly probability: number;
  readonly explained: number;
  /** By method: the map of the network's image size, and the raw ones by layer. */
  readonly maps: ReadonlyMap<string, { readonly raw: readonly Raw[] }>;
  readonly gates: readonly GateSummary[];
}

/** Pixels of a sheet: more than this need gigabytes to draw. */
const LARGEST_SHEET = 2 ** 27;

/** Says it before anything is computed. @throws UserError. */
function expectSheetFits({ images, methods, networks }: ExplainRequest): void {
  const [{ shown }] = images;
  const pixels = images.length * methods.length * (networks.length + 1) * shown.height * shown.width;
  if (pixels <= LARGEST_SHEET) return;
  throw new UserError(
    `${images.length} images × ${methods.length} methods × ${networks.length} networks make a sheet of ${Math.round(pixels / 1e6)} megapixels, at most ${Math.floor(LARGEST_SHEET / 1e6)} can be drawn: name fewer images or methods, or give a smaller --size`,
  );
}

interface Raw {
  readonly layer: string;
  readonly height: number;
  readonly width: number;
  readonly values: Float32Array;
}

/** Explains images by networks and writes the sheet, overlays, heatmaps and numbers to a folder. */
export async function explainNetworks(request: ExplainRequest) {
  const { networks, images, folder, methods } = request;
  expectSheetFits(request);
  const found: {
    network: Network;
    seen: readonly Seen[];
    gates: readonly GateSummary[];
    notes: readonly string[];
  }[] = [];
  for (const [k, network] of networks.entries()) {
    const tell = (share: number) => request.onProgress?.(network.name, (k + share) / networks.length);
    found.push({ network, ...(await look(network, request, tell)) });
  }
  const files = new Map<string, string | Uint8Array>();
  const { classes } = networks[0].trained;
  const rows = await Promise.all(
    images.flatMap((image, k) =>
      methods.map(async ({ method }) => {
        const original: Cell = { picture: image.shown, caption: captionOf(image, classes) };
        const cells = await Promise.all(
          found.map(async ({ network, seen }): Promise<Cell> => {
            const { predicted, probability, maps } = seen[k];
            const { raw } = maps.get(method.name)!;
            const pictures = draw(image, raw, request);
            const base = `${networks.length > 1 ? `${network.name}/` : ""}${k}-${safe(image.name)}.${method.name}`;
            files.set(`${base}.overlay.png`, await png(pictures.overlay));
            files.set(`${base}.png`, await png(pictures.heatmap));
            const [H, W] = network.trained.image;
            files.set(`${base}.npy`, npy(large(raw, H, W), [H, W]));
            const caption = `${classes[predicted]} ${(100 * probability).toFixed(0)} %`;
            const wrong = image.label !== undefined && predicted !== image.label;
            return { picture: pictures.overlay, caption, wrong };
          }),
        );
        return { title: methods.length > 1 ? method.name : nameOf(image), cells: [original, ...cells] };
      }),
    ),
  );
  files.set(
    "sheet.png",
    await drawSheet({
      title: titleOf(request),
      columns: ["image", ...networks.map(({ name }) => name)],
      rows,
    }),
  );
  const document = documentOf(request, found);
  files.set("explanations.json", `${JSON.stringify(document)}\n`);
  for (const [name, bytes] of files) {
    await makeFolder(join(folder, name, ".."));
    await writeDurably(join(folder, name), bytes);
  }
  const several = found.length > 1;
  const notes = found.flatMap(({ network, notes: own }) =>
    own.map((note) => (several ? `${network.name}: ${note}` : note)),
  );
  return { document, table: tableOf(request, found), notes, files: files.size };
}

type Found = { network: Network; seen: readonly Seen[]; gates: readonly GateSummary[] };

async function look({ trained }: Network, request: ExplainRequest, tell: (share: number) => void) {
  const { images, engine, methods, layers, target, signal } = request;
  const [H, W] = trained.image;
  const bytes = new Uint8Array(images.length * 3 * H * W);
  images.forEach((image, k) => {
    bytes.set(image.bytes, k * 3 * H * W);
  });
  const batch = normalized(bytes, H * W, trained.normalization);
  const explainer = new Explainer(trained, engine);
  try {
    const targets = await targetsOf(explainer, batch, images.length, target, signal);
    const onProgress = (done: number, total: number) => tell(done / total);
    const computed = await explainer.maps({ images: batch, methods, layers, targets, signal, onProgress });
    const gates = await gatesOf(explainer, batch, signal);
    const seen = images.map((_, k) => ({
      ...seenOf(computed, k),
      gates: summarizeGates(gatesOfImage(gates, k, images.length)),
    }));
    const alone = images.filter((_, k) => target.against === computed.targets[k].class);
    const note = `predicted as the class it would be held against, explained alone: ${alone.map(({ name }) => name).join(", ")}`;
    const notes = alone.length > 0 ? [...computed.notes, note] : computed.notes;
    return { seen, gates: summarizeGates(gates), notes };
  } finally {
    explainer.close();
  }
}

/** What is explained, image by image; undefined for the predicted class alone. */
async function targetsOf(
  explainer: Explainer,
  batch: Float32Array,
  count: number,
  { class: own, against }: Partial<ClassTarget>,
  signal?: AbortSignal,
): Promise<ClassTarget[] | undefined> {
  if (own !== undefined) return Array.from({ length: count }, () => ({ class: own, against }));
  if (against === undefined) return undefined;
  const size = explainer.imageSize;
  const draw = (k: number, into: Float32Array) => into.set(batch.subarray(k * size, (k + 1) * size));
  const logits = await explainer.logits(count, draw, signal);
  return Array.from({ length: count }, (_, k) =>
    predictedAgainst(best(rowOf(logits, k, explainer.classes)), against),
  );
}

const rowOf = (logits: Float32Array, k: number, classes: number) =>
  logits.subarray(k * classes, (k + 1) * classes);
const best = (row: Float32Array) => Math.max(0, row.indexOf(row.reduce((a, b) => Math.max(a, b))));

function seenOf({ logits, count, targets, maps }: Maps, k: number): Omit<Seen, "gates"> {
  const row = rowOf(logits, k, logits.length / count);
  const predicted = best(row);
  const byMethod = new Map<string, { raw: Raw[] }>();
  for (const { method, layer, height, width, values } of maps) {
    const own = byMethod.get(method.name) ?? { raw: [] };
    const size = height * width;
    own.raw.push({ layer, height, width, values: values.slice(k * size, (k + 1) * size) });
    byMethod.set(method.name, own);
  }
  return { predicted, probability: softmax(row, predicted), explained: targets[k].class, maps: byMethod };
}

/** The finished map of any size; of several layers the mean. */
const large = (raw: readonly Raw[], H: number, W: number) =>
  mean(raw.map(({ values, height, width }) => finished(values, height, width, H, W)));

function draw({ shown }: InputImage, raw: readonly Raw[], { colormap, alpha }: ExplainRequest) {
  const heatmap = colored(
    large(raw, shown.height, shown.width),
    shown.height,
    shown.width,
    colormaps[colormap],
  );
  return { heatmap, overlay: overlaid(shown, heatmap, alpha) };
}

const png = ({ pixels, height, width }: Picture) =>
  sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();

const safe = (name: string) => name.replaceAll(/[^\w.-]+/g, "_").slice(0, 80);

const captionOf = ({ label, name }: InputImage, classes: readonly string[]) =>
  label === undefined ? name : classes[label];

/** Photographs have their names below them. */
const nameOf = ({ label, name }: InputImage) => (label === undefined ? "" : name);

function titleOf({ methods, target, networks, layers, colormap, alpha }: ExplainRequest): string {
  const { classes } = networks[0].trained;
  const of = target.class === undefined ? "predicted class" : classes[target.class];
  const against = target.against === undefined ? "" : ` against ${classes[target.against]}`;
  const named = methods.length === 1 ? `${methods[0].method.name}, ` : "";
  const at = layers ? `, ${layers.join(" + ")}` : "";
  return `${named}${of}${against}${at} · ${colormap}, alpha ${alpha}`;
}

/** explanations.json: what every network says of every image, maps in rows, and its gates. */
function documentOf({ images, methods, networks, colormap, alpha }: ExplainRequest, found: readonly Found[]) {
  const { classes } = networks[0].trained;
  return {
    ...{ classes, methods: methods.map(({ method }) => method.name), colormap, alpha },
    images: images.map(({ name, label }, k) => ({
      name,
      ...(label !== undefined && { label: classes[label] }),
      variants: Object.fromEntries(
        found.map(({ network, seen }) => {
          const { predicted, probability, explained, maps, gates } = seen[k];
          const raw = [...maps].map(([method, own]) => [
            method,
            own.raw.map(({ layer, height, width, values }) => ({
              ...{ layer, height, width, map: inRows(clipped(values), width) },
            })),
          ]);
          const said = { predicted: classes[predicted], probability, explained: classes[explained] };
          return [network.name, { ...said, maps: Object.fromEntries(raw), gates }];
        }),
      ),
    })),
    gates: Object.fromEntries(found.map(({ network, gates }) => [network.name, gates])),
  };
}

const inRows = (values: Float32Array, width: number) =>
  Array.from({ length: values.length / width }, (_, y) => [...values.subarray(y * width, (y + 1) * width)]);

/** A row an image: what each network takes it for; then the gates, stage by stage. */
function tableOf({ images, networks }: ExplainRequest, found: readonly Found[]): string {
  const { classes } = networks[0].trained;
  const columns: Column<number>[] = [
    { title: "image", cell: (k) => images[k].name },
    { title: "class", cell: (k) => (images[k].label === undefined ? "–" : classes[images[k].label]) },
    ...found.map(
      ({ network, seen }): Column<number> => ({
        title: network.name,
        cell: (k) => `${classes[seen[k].predicted]} ${percent(seen[k].probability)} %`,
      }),
    ),
  ];
  const gates = found.flatMap(({ network, gates: own }) =>
    own.map((gate) => ({ name: network.name, ...gate })),
  );
  const shown = textTable(columns, [...images.keys()]);
  if (gates.length === 0) return shown;
  const gateColumns: Column<(typeof gates)[number]>[] = [
    { title: "gates of", cell: ({ name }) => name },
    { title: "stage", cell: ({ stage }) => stage },
    { title: "of each", cell: ({ kind }) => (kind === "channel" ? "channel" : "pixel") },
    { title: "modules", align: "right", cell: ({ modules }) => String(modules) },
    { title: "mean", align: "right", cell: ({ mean: value }) => value.toFixed(3) },
    { title: "deviation", align: "right", cell: ({ deviation }) => deviation.toFixed(3) },
    { title: "lowest", align: "right", cell: ({ lowest }) => lowest.toFixed(3) },
    { title: "highest", align: "right", cell: ({ highest }) => highest.toFixed(3) },
  ];
  return `${shown}\n\n${textTable(gateColumns, gates)}`;
}
