import type { WriteStream } from "node:tty";

/** A line that is redrawn: a name, how far it is (0 to 1), and figures. */
export interface Bar {
  readonly label: string;
  readonly fraction?: number;
  readonly text: string;
}

/** Where people see what goes on: lines that stay and, on a terminal, bars below them. */
export interface Display {
  readonly live: boolean;
  line(text: string): void;
  bars(bars: readonly Bar[]): void;
  /** Takes the bars away. */
  clear(): void;
}

type Stream = Pick<WriteStream, "write" | "columns">;

/** Lines only: for logs and pipes. */
export function plainDisplay(stream: Pick<Stream, "write">): Display {
  return { live: false, line: (text) => stream.write(`${text}\n`), bars: () => {}, clear: () => {} };
}

const REDRAW_MS = 100;

/** Bars redrawn in place, ten times a second at most. */
export function liveDisplay(stream: Stream, now: () => number = Date.now): Display {
  let drawn: readonly string[] = [];
  let drawnAt = Number.NEGATIVE_INFINITY;
  const erase = () => {
    // A terminal made narrower since wraps what stands there: count the rows it takes now.
    const rows = drawn.reduce(
      (sum, text) => sum + Math.max(1, Math.ceil(text.length / columnsOf(stream))),
      0,
    );
    drawn = [];
    return rows > 0 ? `\r\x1b[${rows}A\x1b[J` : "";
  };
  return {
    live: true,
    line: (text) => {
      stream.write(`${erase()}${text}\n`);
      drawnAt = Number.NEGATIVE_INFINITY;
    },
    bars: (bars) => {
      if (now() - drawnAt < REDRAW_MS) return;
      const lines = layout(bars, columnsOf(stream));
      stream.write(`${erase()}${lines.map((text) => `${text}\n`).join("")}`);
      drawn = lines;
      drawnAt = now();
    },
    clear: () => {
      const text = erase();
      if (text) stream.write(text);
      drawnAt = Number.NEGATIVE_INFINITY;
    },
  };
}

const columnsOf = ({ columns }: Stream) => columns || 80;

const LONGEST_BAR = 30;
const SHORTEST_BAR = 6;

/** Bars as lines shorter than the terminal is wide; bars are shortened first, then left out, then text is cut. */
export function layout(bars: readonly Bar[], columns: number): string[] {
  const labelWidth = Math.max(...bars.map(({ label }) => label.length));
  const textWidth = Math.max(...bars.map(({ text }) => text.length));
  const room = columns - 1 - labelWidth - textWidth - 4;
  const width = room >= SHORTEST_BAR ? Math.min(LONGEST_BAR, room) : 0;
  return bars.map(({ label, fraction, text }) => {
    const bar = width > 0 && fraction !== undefined ? `${drawBar(fraction, width)}  ` : "";
    const gap = width > 0 && fraction === undefined ? " ".repeat(width + 2) : "";
    return cut(`${label.padEnd(labelWidth)}  ${bar}${gap}${text}`, columns - 1);
  });
}

function drawBar(fraction: number, width: number): string {
  const full = Math.round(Math.min(1, Math.max(0, fraction)) * width);
  return "━".repeat(full) + "─".repeat(width - full);
}

const cut = (text: string, width: number) =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
