import type { Comparison } from "../../../study/comparisons.ts";
import { Format } from "../format.ts";
import { turned, verdictOf } from "../verdict.ts";

const f = new Format("en");
const seeds = (n: number) => `${n} seed${n === 1 ? "" : "s"}`;

function pair(comparison: Comparison): string {
  const {
    first,
    second,
    mean,
    seeds: { length: n },
    t,
    images,
  } = turned(comparison);
  const verdict = verdictOf(comparison);
  const above = `${first} is ${f.points(mean)} points above ${second}`;
  switch (verdict.kind) {
    case "shown":
      return `${above}, 95 % interval ${f.points(t!.interval[0])} to ${f.points(t!.interval[1])}; that is unlikely to be chance (p ${eq(t!.holm)} with ${n} seeds, corrected for all pairs).`;
    case "suggested":
      return `${above}, 95 % interval ${f.points(t!.interval[0])} to ${f.points(t!.interval[1])}: by itself hardly chance (p ${eq(t!.p)}), but among all pairs compared here it may be (corrected p ${eq(t!.holm)} with ${n} seeds)${verdict.seedsNeeded === undefined ? "" : `; about ${f.count(verdict.seedsNeeded)} seeds would settle it`}.`;
    case "open": {
      const needed =
        verdict.seedsNeeded === undefined
          ? "not even 1,000 would show a difference as small as this"
          : `about ${f.count(verdict.seedsNeeded)} would be needed if it is as large as it looks`;
      return mean === 0
        ? `No difference shown between ${first} and ${second} with ${n} seeds: on average they are equal.`
        : `No difference shown between ${first} and ${second} with ${n} seeds (${f.points(mean)} points, 95 % interval ${f.points(t!.interval[0])} to ${f.points(t!.interval[1])}); ${needed}.`;
    }
    case "constant":
      return mean === 0
        ? `${first} and ${second} are equal with each of ${n} seeds.`
        : `${above} with each of ${n} seeds alike; without spread there is nothing to test it by.`;
    case "one seed": {
      if (mean === 0)
        return `${first} and ${second} are equal with the one seed; what another training would give is not known.`;
      const onImages = {
        shown: `On these ${f.count(images?.count ?? 0)} test images that is unlikely to be chance (McNemar, p ${eq(images?.clustered.holm ?? 1)}), but one seed does not tell whether training again would show it`,
        open: `Already on these ${f.count(images?.count ?? 0)} test images that may be chance (McNemar, p ${eq(images?.clustered.holm ?? 1)}), and one seed does not tell what training again would give`,
        unknown: "One seed does not tell whether training again would show it",
      }[verdict.images];
      return `${above} with one seed. ${onImages}.`;
    }
  }
}

const eq = (p: number) => (p < 0.001 ? f.p(p) : `= ${f.p(p)}`);

export const en = {
  title: (studies: string) => `${studies}: a comparison`,
  pair,
  skip: "Skip to the content",
  theme: { label: "Theme", system: "system", light: "light", dark: "dark" },
  written: (date: string, version: string) => `Written ${date} by atento ${version}.`,
  lead: (data: string, classes: number, size: string, variants: number, n: number) =>
    `${variants} variant${variants === 1 ? "" : "s"} × ${seeds(n)} on ${data}: ${classes} classes, ${size} pixels.`,
  judged: (held: number | "test") =>
    held === "test"
      ? "The test set served as validation set."
      : held === 0
        ? "Nothing was held back to validate."
        : `${f.count(held)} training images were held back to validate.`,
  unfinished: (done: number, all: number) =>
    `This study is not finished: ${done} of ${all} runs are done. Figures are of those that are; curves show what there is.`,
  sections: {
    summary: "In words",
    table: "The comparison",
    pairs: "Is it real?",
    curves: "Training",
    cost: "What it costs",
    classes: "Class by class",
    heatmaps: "Where it looks",
    gates: "What attention lets through",
    disagree: "Where they disagree",
    recipe: "Do it again",
  },
  summary: {
    best: "Which variant is best?",
    much: "By how much?",
    real: "Is it real?",
    cost: "What does it cost?",
    looks: "Where does it look?",
    nothing: "No run is finished yet.",
    highest: (name: string, accuracy: string, interval: string | undefined, n: number) =>
      interval
        ? `${name} has the highest test accuracy: ${accuracy} on average over ${seeds(n)} (95 % interval ${interval}).`
        : `${name} has the highest test accuracy: ${accuracy}, with one seed.`,
    tie: (names: string, accuracy: string) => `${names} are level at the highest test accuracy, ${accuracy}.`,
    alone: (name: string, accuracy: string) =>
      `${name} stands alone: ${accuracy} of the test images are right.`,
    ahead: (points: string, second: string, interval: string | undefined) =>
      `${points} points of test accuracy above ${second}, the next best${interval ? ` (95 % interval of the difference ${interval})` : ""}.`,
    range: (low: string, lowest: string) => `The lowest, ${lowest}, reaches ${low}.`,
    nothingToCompare: "There is no second variant to compare it with.",
    notPaired: "The two best variants share no seed, so they cannot be compared in pairs.",
    noneShown: (pairs: number) => `Of ${pairs} pairs of variants, none is told apart with these seeds.`,
    someShown: (shown: number, pairs: number) =>
      `Of ${pairs} pairs of variants, ${shown} ${shown === 1 ? "is" : "are"} told apart with these seeds.`,
    oneSeed:
      "With one seed nothing can be concluded about the recipes, only about these very networks: train at least three seeds (--seeds 1,2,3).",
    same: (name: string) => `${name} is also the first variant, which the others are measured against.`,
    costs: (name: string, baseline: string, parameters: string, multiplyAdds: string, speed: string) =>
      `Against ${baseline}, ${name} has ${parameters} parameters, ${multiplyAdds} multiply-adds, and trains ${speed}.`,
    more: (share: string) => `${share} more`,
    fewer: (share: string) => `${share} fewer`,
    equal: "as many",
    faster: (share: string) => `${share} faster`,
    slower: (share: string) => `${share} slower`,
    alike: "as fast",
    sizes: (parameters: string, multiplyAdds: string, speed: string) =>
      `${parameters} parameters, ${multiplyAdds} multiply-adds an image, ${speed} images/s in training.`,
    pointing: (method: string, name: string, share: string, others: string) =>
      `The maximum of ${method} is on the object in ${share} of the images for ${name}${others}.`,
    energy: (method: string, name: string, share: string, others: string) =>
      `${share} of ${method} lies on the object for ${name}${others}.`,
    insertion: (method: string, name: string, value: string, others: string) =>
      `${method} of ${name} has an insertion area of ${value}${others}: the higher, the more the pixels it marks decide.`,
    against: (list: string) => ` (${list})`,
    seen: "The heatmaps below show it image by image.",
    noMaps: "No heatmaps were computed yet: atento study makes them.",
  },
  table: {
    variant: "variant",
    trainAccuracy: "train acc. %",
    validationAccuracy: "val. acc. %",
    testAccuracy: "test acc. %",
    trainLoss: "train loss",
    validationLoss: "val. loss",
    testLoss: "test loss",
    parameters: "parameters",
    multiplyAdds: "multiply-adds",
    imagesPerSecond: "images/s",
    runs: "seeds",
    sortHint: "Choose a title to sort by it. The best of a column is bold and marked with a star.",
    note: (several: boolean) =>
      `${several ? "Mean ± sample deviation over seeds; below it the 95 % interval of the mean. " : ""}Training figures are means over the last epoch, in training mode; parameters without running statistics; multiply-adds of one image forward; images/s in training.`,
    missing: (variant: string, seed: number, what: string) => `${variant}, seed ${seed}: ${what}`,
    states: {
      running: "is trained now, or was killed",
      interrupted: "is interrupted",
      failed: "failed",
      done: "done",
      absent: "not begun",
    },
    epochs: (done: number, all: number) => `${done} of ${all} epochs`,
  },
  pairs: {
    intro:
      "Two kinds of chance stand between a figure and the truth: other seeds would have trained other networks, and other test images would have judged them otherwise. The thick bar is the 95 % interval over seeds (paired t), the thin line the one over test images (bootstrap). Intervals are of one pair; p values are corrected for all pairs (Holm).",
    axis: "difference of test accuracy, percentage points",
    details: "figures",
    differences: "difference, seed by seed",
    t: "paired t test",
    wilcoxon: "Wilcoxon signed rank, exact",
    effect: "effect size d_z",
    clustered: "McNemar, over all seeds",
    mcnemar: (seed: number) => `McNemar, seed ${seed}, exact`,
    bootstrap: "bootstrap over test images, 95 %",
    needed: "seeds needed (power 80 %)",
    only: (a: string, x: string, b: string, y: string) => `only ${a} right: ${x}, only ${b} right: ${y}`,
    p: (p: string, holm: string) => `p ${p}, corrected ${holm}`,
    beyond: "more than 1,000",
    wilcoxonLimit: (n: number, least: string) => `with ${n} seeds its p can be no smaller than ${least}`,
    none: "There are no two variants with a finished run of the same seed.",
    noImages: "Predictions image by image are not on record: trained by an earlier version.",
    points: "points",
  },
  curves: {
    training: "Training",
    validation: "Validation",
    accuracy: "accuracy",
    loss: "loss",
    metric: "Show",
    log: "log scale",
    smoothing: "Smoothing",
    zoomIn: "Zoom in",
    zoomOut: "Zoom out",
    all: "All epochs",
    epoch: "epoch",
    hint: "Drag across a chart to zoom into those epochs. With the keyboard: arrows move along the epochs, + and − zoom, 0 shows all.",
    band: (several: boolean): string =>
      several ? "Line: mean over seeds. Band: from the lowest seed to the highest." : "",
    label: (panel: string, metric: string, variants: string) => `${panel} ${metric} an epoch of ${variants}`,
    variants: "Variants",
    none: "No epoch is finished yet.",
  },
  cost: {
    axis: "Along",
    parameters: "parameters",
    multiplyAdds: "multiply-adds an image",
    imagesPerSecond: "images/s in training",
    accuracy: "test accuracy",
    label: (x: string) => `Test accuracy against ${x}`,
    note: (several: boolean): string => (several ? "Bars: 95 % interval of the mean over seeds." : ""),
  },
  classes: {
    perClass: "Accuracy of each class, %",
    confusion: "Confusion matrix",
    class: "class",
    range: "range",
    variant: "Variant",
    truth: "true class",
    predicted: "predicted",
    note: (n: number) =>
      `Test images, ${n === 1 ? "one seed" : `${n} seeds together`}. Rows are true classes, columns predictions; shading is the share of the row.`,
    none: "No finished run has figures of the test set.",
  },
  heatmaps: {
    method: "Method",
    seed: "Seed",
    strength: "Strength of the overlay",
    outline: "outline of the object",
    image: "image",
    more: (n: number) => `Show ${n} more images`,
    layer: (layer: string) => `Maps of ${layer}, divided by their maximum.`,
    scores: "Numbers of the chosen method, mean over images and seeds",
    missing: "No heatmaps were computed for this study: atento study, again, makes them.",
    unfinished: (variants: string) => `Without heatmaps: ${variants}.`,
    tooLarge: "Maps of this seed are left out of the page to keep it small.",
    caption: (predicted: string, right: boolean) => `${right ? "✓" : "✗"} ${predicted}`,
    alt: (method: string, variant: string, label: string) =>
      `${method} of ${variant} on an image of ${label}`,
    scale: ["little", "much"],
    names: {
      insertion: "insertion ↑",
      deletion: "deletion ↓",
      road: "ROAD ↑",
      drop: "drop ↓",
      increase: "increase ↑",
      pointing: "pointing ↑",
      energy: "energy ↑",
      iou: "IoU ↑",
      sanity: "sanity",
    },
    explain: {
      insertion: "area under the class's probability as the marked pixels appear first",
      deletion: "area under the class's probability as the marked pixels vanish first",
      road: "ROAD: how much less it matters to remove the least marked pixels than the most marked",
      drop: "average drop of confidence when only the marked part is left",
      increase: "share of images with more confidence when only the marked part is left",
      pointing: "share of images whose maximum lies on the object",
      energy: "share of the map that lies on the object",
      iou: "overlap with the object at the best threshold",
      sanity: "likeness to the map of a network with random weights",
    },
  },
  gates: {
    missing: "No gates were recorded: they come with the heatmaps, of variants with attention.",
    intro:
      "What each attention module multiplies its channels by, by stage: mean over channels and classes (mark), the middle 80 % of channels (bar), and how far classes differ (printed: mean deviation between classes). A gate that is the same for every class and channel does nothing.",
    layer: "Module",
    strip: (layer: string) =>
      `Channels of ${layer} (sorted by their mean) by class: light is open, dark is closed`,
    spatial: (layer: string) => `Where ${layer} is open, by class`,
    stage: "stage",
    axis: "gate",
    between: (value: string) => `classes ± ${value}`,
    label: "Mean gate of each attention module",
  },
  disagree: {
    missing: "Images are shown once heatmaps are computed.",
    none: "Of the images with heatmaps, the variants disagree on none.",
    intro: (n: number, all: number) =>
      `The variants predict different classes for ${n} of the ${all} images with heatmaps (seed chosen above).`,
    counts: (n: string, all: string, seed: number) =>
      `At least two variants differ on ${n} of all ${all} images of the test set (seed ${seed}).`,
    truth: (label: string, index: number) => `${label} (image ${index})`,
  },
  recipe: {
    command: "The command",
    copy: "Copy",
    copied: "Copied",
    differs: "How the variants differ",
    shared: "What they share",
    setting: "setting",
    environment: "Where it was computed",
    runs: "runs",
    all: "all runs",
    settings: "All settings (study.json)",
    resume:
      "The same command goes on where a study stopped, and gives the same bits with any number of threads.",
  },
};
