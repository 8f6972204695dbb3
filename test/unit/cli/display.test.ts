import { describe, expect, it } from "vitest";
import { layout, liveDisplay, plainDisplay } from "../../../src/cli/display.ts";

/** A terminal of so many columns that keeps what stands on its screen. */
class Screen {
  columns: number;
  text = "";
  written = 0;
  rows: string[] = [""];

  constructor(columns: number) {
    this.columns = columns;
  }

  write(text: string): boolean {
    this.written++;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is tested
    for (const part of text.split(/(\r?\x1b\[\d*[AJ]|\n)/)) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
      const up = /\x1b\[(\d+)A/.exec(part);
      if (up) this.rows.splice(this.rows.length - 1 - Number(up[1]), Number(up[1]) + 1, "");
      else if (part === "\n") this.rows.push("");
      else if (!part.includes("\x1b")) this.#print(part);
    }
    return true;
  }

  #print(text: string): void {
    let line = this.rows.pop() + text;
    while (line.length > this.columns) {
      this.rows.push(line.slice(0, this.columns));
      line = line.slice(this.columns);
    }
    this.rows.push(line);
  }

  /** What a narrower window makes of it. */
  narrow(columns: number): void {
    this.columns = columns;
    const rows = this.rows;
    this.rows = [];
    for (const row of rows) {
      this.rows.push("");
      this.#print(row);
    }
  }
}

const bars = (n: number) => [
  { label: "study", fraction: n / 10, text: `run ${n} of 10` },
  { label: "epoch", fraction: 0.5, text: "loss 0.5 · 100 images/s" },
];

describe("layout", () => {
  it("has names, bars and figures one below the other", () => {
    expect(layout(bars(5), 60)).toEqual([
      "study  ━━━━━━━━━━━━━━─────────────  run 5 of 10",
      "epoch  ━━━━━━━━━━━━━━─────────────  loss 0.5 · 100 images/s",
    ]);
  });

  it.each([200, 80, 50, 40, 30, 20, 10, 2])("is narrower than %i columns", (columns) => {
    for (const line of layout(bars(3), columns)) expect(line.length).toBeLessThan(columns);
  });

  it("leaves bars out before it cuts words", () => {
    expect(layout(bars(3), 38)).toEqual(["study  run 3 of 10", "epoch  loss 0.5 · 100 images/s"]);
    expect(layout(bars(3), 15)).toEqual(["study  run 3 …", "epoch  loss 0…"]);
  });
});

describe("a live display", () => {
  it("redraws its bars in place and keeps lines above them", () => {
    const screen = new Screen(60);
    let now = 0;
    const display = liveDisplay(screen as never, () => now);
    for (let n = 0; n < 5; n++) {
      now += 1000;
      display.bars(bars(n));
      if (n === 2) display.line("run 2 is done");
    }
    expect(screen.rows).toEqual(["run 2 is done", ...layout(bars(4), 60), ""]);
    display.clear();
    expect(screen.rows).toEqual(["run 2 is done", ""]);
  });

  it("leaves nothing behind when the terminal becomes narrower", () => {
    const screen = new Screen(60);
    let now = 0;
    const display = liveDisplay(screen as never, () => (now += 1000));
    display.bars(bars(1));
    screen.narrow(25);
    display.bars(bars(2));
    expect(screen.rows).toEqual([...layout(bars(2), 25), ""]);
  });

  it("draws ten times a second at most", () => {
    const screen = new Screen(60);
    let now = 0;
    const display = liveDisplay(screen as never, () => now);
    for (; now < 1000; now += 10) display.bars(bars(1));
    expect(screen.written).toBe(10);
  });
});

it("a plain display has lines only", () => {
  const written: string[] = [];
  const display = plainDisplay({ write: (text: unknown) => Boolean(written.push(String(text))) });
  display.bars(bars(1));
  display.line("epoch 1");
  display.clear();
  expect(written).toEqual(["epoch 1\n"]);
});
