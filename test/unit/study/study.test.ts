import { describe, expect, it } from "vitest";
import { resolveModel } from "../../../src/models/options.ts";
import { parseStudy } from "../../../src/study/study.ts";

const HEAD = `name: t
data: { source: shapes, validation: 50 }
model: { name: resnet14, stem: cifar }
train: { epochs: 3, optimizer: { name: sgd, lr: 0.2, momentum: 0.9 } }
`;

const variant = (text: string, head = HEAD) =>
  parseStudy(`${head}variants:\n  v: ${text}\n`, "t.yaml").variants[0];
const problems = (text: string): string => {
  try {
    parseStudy(text, "t.yaml");
  } catch (error) {
    return (error as Error).message;
  }
  return "no problem";
};

describe("a study file", () => {
  it("fills in what it does not say", () => {
    const study = parseStudy("name: s\ndata: { source: shapes }\nvariants: { plain: }\n", "s.yaml");
    expect(study.seeds).toEqual([1]);
    expect(study.data).toEqual({ source: { source: "shapes" }, validation: undefined, normalize: "channel" });
    expect(study.variants[0].train.epochs).toBe(30);
    expect(resolveModel(study.variants[0].model, 10).depths).toEqual([3, 4, 6, 3]);
  });

  it("takes the test set for validation when asked to", () => {
    const study = parseStudy(
      "name: s\ndata: { source: cifar10, validation: test }\nvariants: { a: {} }\n",
      "s",
    );
    expect(study.data.validation).toBe("test");
  });
});

describe("a variant", () => {
  it("keeps what all share and changes what it says", () => {
    const { train, model } = variant("{ attention: se, train: { optimizer: { lr: 0.3 }, batch: 7 } }");
    expect(train.optimizer).toEqual({ name: "sgd", lr: 0.3, momentum: 0.9, nesterov: false, weightDecay: 0 });
    expect(train).toMatchObject({ epochs: 3, batch: 7 });
    expect(resolveModel(model, 10).attention.name).toBe("se");
  });

  it("leaves the options of another optimizer behind", () => {
    expect(variant("{ train: { optimizer: { name: adam } } }").train.optimizer).toMatchObject({
      name: "adam",
      lr: 1e-3,
    });
    expect(variant("{ train: { optimizer: adam } }").train.optimizer).toMatchObject({
      name: "adam",
      lr: 1e-3,
    });
  });

  it("adds options to an optimizer or schedule given by its name alone", () => {
    const head = HEAD.replace(/train: .*/, "train: { optimizer: adam, schedule: step }");
    const { train } = variant("{ train: { optimizer: { lr: 0.5 }, schedule: { gamma: 0.2 } } }", head);
    expect(train.optimizer).toMatchObject({ name: "adam", lr: 0.5 });
    expect(train.schedule).toMatchObject({ name: "step", gamma: 0.2 });
  });

  it("takes attention options in short and in full", () => {
    const options = (text: string, head?: string) =>
      resolveModel(variant(text, head).model, 10).attention.options;
    expect(options("{ attention: se, reduction: 8, bias: false }")).toMatchObject({
      reduction: 8,
      bias: false,
    });
    expect(options("{ model: { attention: se, attentionOptions: { reduction: 4 } } }")).toMatchObject({
      reduction: 4,
    });
    const shared = HEAD.replace("stem: cifar", "stem: cifar, attention: se, reduction: 8, bias: false");
    expect(options("{}", shared)).toMatchObject({ reduction: 8, bias: false });
    expect(options("{ attention: cbam }", shared)).toMatchObject({ reduction: 8, convention: "timm" });
    expect(options("{ attention: none }", shared)).toEqual({});
  });
});

describe("a mistake", () => {
  it.each([
    ["{ attention: ▸sse }", 'unknown attention "sse": did you mean se? There are none, cbam, eca, se'],
    ["{ attention: eca, reduction: ▸4 }", 'attention eca has no options, "reduction" was given'],
    ["{ attention: se, reduction: ▸1.5 }", "attention se: reduction must be a whole number above 0, is 1.5"],
    [
      "{ attention: cbam, convention: ▸tim }",
      'unknown convention of attention cbam "tim": did you mean timm?',
    ],
    ["{ model: { stem: ▸cifr } }", 'unknown stem "cifr": did you mean cifar?'],
    ["{ placement: ▸al }", 'unknown placement "al": did you mean all? There are all, identity'],
    ["{ ▸attentoin: se }", 'unknown key in variants.b "attentoin": did you mean attention?'],
    ["{ train: { epochs: ▸0 } }", "train.epochs must be more than 0, is 0"],
    ["{ train: { epochs: ▸ten } }", 'train.epochs must be a number, is "ten"'],
    [
      "{ train: { optimizer: { name: ▸sgb } } }",
      'unknown optimizer "sgb": did you mean sgd? There are sgd, adam, adamw',
    ],
    [
      "{ train: { optimizer: { ▸momentun: 1 } } }",
      'unknown key in train.optimizer "momentun": did you mean momentum?',
    ],
    ["{ train: { schedule: ▸cosin } }", 'unknown schedule "cosin": did you mean cosine?'],
    ["{ train: { ▸augment: [flop] } }", 'unknown augmentation "flop": did you mean flip?'],
    ["{ train: { warmup: ▸3 } }", "train.warmup must be shorter than the 3 epochs"],
  ])("in a variant stands in it: %s", (marked, message) => {
    const told = problems(`${HEAD}variants:\n  a: {}\n  b: ${marked.replace("▸", "")}\n`);
    const column = "  b: ".length + marked.indexOf("▸") + 1;
    expect(told).toContain(`t.yaml:7:${column}: ${message}`);
    expect(told).not.toContain("\n");
  });

  it("in what all share is told once, where it stands", () => {
    const text = `${HEAD.replace("epochs: 3", "epohs: 3")}variants: { a: {}, b: {}, c: { attention: se } }\n`;
    expect(problems(text)).toMatch(
      /^t\.yaml:4:10: unknown key in train "epohs": did you mean epochs\?[^\n]*$/,
    );
    expect(problems(`${HEAD.replace("resnet14", "resnet15")}variants: { a: {}, b: {} }\n`)).toMatch(
      /^t\.yaml:3:16: unknown model "resnet15": did you mean resnet\d+\?[^\n]*$/,
    );
  });

  it("outside the variants is told too", () => {
    const base = `${HEAD}variants: { a: {} }\n`;
    expect(problems(base.replace("validation", "validaton"))).toContain(
      't.yaml:2:25: unknown key in data "validaton": did you mean validation?',
    );
    expect(problems(base.replace("source: shapes", "source: shape"))).toContain(
      't.yaml:2:17: unknown data source "shape": did you mean shapes?',
    );
    expect(problems(`${base}seeds: [1, 1]\n`)).toContain("t.yaml:6:8: seeds must not name a seed twice");
    expect(problems(`${base}seeds: []\n`)).toContain("t.yaml:6:8: seeds must have at least 1 entry");
    expect(problems(`${base}sedes: [1]\n`)).toContain('t.yaml:6:1: unknown key "sedes": did you mean seeds?');
    expect(problems(HEAD)).toContain("t.yaml:1:1: variants is missing: it must be a table of keys");
    expect(problems(`${HEAD}variants: {}\n`)).toContain(
      "t.yaml:5:11: variants must have at least one variant",
    );
    expect(problems(base.replace("name: t", "name: ../t"))).toContain("t.yaml:1:7: name must be letters");
    expect(problems("just words\n")).toContain("t.yaml:1:1: the file must be a table of keys");
    expect(problems("")).toContain("the file must be a table of keys");
  });

  it("does not hide others", () => {
    const message = problems(
      `${HEAD.replace("epochs: 3", "epochs: x")}variants: { a: { attention: see } }\n`,
    );
    expect(message.split("\n")).toEqual([
      't.yaml:4:18: train.epochs must be a number, is "x"',
      't.yaml:5:29: unknown attention "see": did you mean se? There are none, cbam, eca, se',
    ]);
  });
});
