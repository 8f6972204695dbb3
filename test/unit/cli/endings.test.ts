import { writeFileSync } from "node:fs";
import { CommanderError } from "commander";
import { describe, expect, it, vi } from "vitest";
import { plainDisplay } from "../../../src/cli/display.ts";
import { endingOf, Interrupted } from "../../../src/cli/errors.ts";
import { interruptible, sameCommand } from "../../../src/cli/interrupt.ts";
import { StudyClock } from "../../../src/cli/progress.ts";
import { UserError } from "../../../src/tensor/errors.ts";

function thrown(job: () => void): unknown {
  try {
    job();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

describe("endingOf", () => {
  it("tells mistakes in what was asked from defects", () => {
    expect(endingOf(new UserError("a: no such b"))).toEqual({ code: 2, text: "error: a: no such b" });
    expect(endingOf(new UserError("one\ntwo"))).toEqual({ code: 2, text: "error: one\nerror: two" });
    expect(endingOf(new Interrupted("saved"))).toEqual({ code: 130, text: "saved" });
    const defect = endingOf(new TypeError("x is undefined\nat y"), false);
    expect(defect.code).toBe(1);
    expect(defect.text).toMatch(
      /^error: TypeError: x is undefined \(this is a defect [^\n]*ATENTO_DEBUG=1[^\n]*\)$/,
    );
  });

  it("shows where only when asked to", () => {
    expect(endingOf(new TypeError("x"), true).text).toContain("endings.test.ts");
    expect(endingOf(new TypeError("x"), false).text).not.toContain("endings.test.ts");
  });

  it("takes what the operating system refuses for a mistake that can be mended", () => {
    const full = endingOf(thrown(() => writeFileSync("/dev/full", "x")));
    expect(full).toMatchObject({ code: 2, text: expect.stringContaining("no space left on device") });
    const missing = endingOf(thrown(() => writeFileSync("/none/such", "x")));
    expect(missing).toMatchObject({
      code: 2,
      text: expect.stringMatching(/^error: \/none\/such: no such file/),
    });
  });

  it("takes a disk that is gone for such a mistake, and a wrong argument for a defect", () => {
    const system = (code: string, errno: number) =>
      Object.assign(new Error(code), { code, errno, syscall: "write", path: "/runs/x" });
    const away = endingOf(system("ENODEV", -19));
    expect(away).toEqual({
      code: 2,
      text: expect.stringMatching(/^error: \/runs\/x: no such device: check/),
    });
    expect(endingOf(system("EINVAL", -22)).code).toBe(1);
  });

  it("takes memory that cannot be had for a mistake, too", () => {
    const text = expect.stringMatching(
      /^error: the memory cannot be had \(.*\): take a smaller batch or model/,
    );
    for (const bytes of [2 ** 46, 2 ** 60]) {
      expect(endingOf(thrown(() => new Float32Array(new SharedArrayBuffer(bytes))))).toEqual({
        code: 2,
        text,
      });
    }
    expect(endingOf(new RangeError("x must be below 3")).code).toBe(1);
  });

  it("says nothing twice after commander", () => {
    expect(endingOf(new CommanderError(1, "commander.unknownOption", "x"))).toEqual({ code: 2 });
    expect(endingOf(new CommanderError(0, "commander.helpDisplayed", "x"))).toEqual({ code: 0 });
  });
});

describe("an interrupt", () => {
  it("aborts at first and leaves at once the second time", async () => {
    const exit = vi.fn();
    const lines: string[] = [];
    const show = plainDisplay({ write: (text: unknown) => Boolean(lines.push(String(text))) });
    const job = async (signal: AbortSignal) => {
      process.emit("SIGINT");
      expect(signal.aborted).toBe(true);
      expect(exit).not.toHaveBeenCalled();
      process.emit("SIGTERM");
      return "saved";
    };
    const result = await interruptible(show, job, exit);
    expect(exit).toHaveBeenCalledWith(130);
    expect(result).toBe("saved");
    expect(lines).toHaveLength(1);
    expect(process.listenerCount("SIGTERM")).toBe(0);
  });

  it("before anything was begun is no defect", async () => {
    const show = plainDisplay({ write: () => true });
    const job = interruptible(show, async (signal) => {
      process.emit("SIGINT");
      signal.throwIfAborted();
    });
    await expect(job).rejects.toThrow(Interrupted);
  });

  it("is answered with the same command, quoted for a shell", () => {
    expect(sameCommand(["study", "my study.yaml", "--out", "/a/b-c_d"], {})).toBe(
      "atento study 'my study.yaml' --out /a/b-c_d",
    );
    expect(sameCommand(["it's"], {})).toBe("atento 'it'\\''s'");
    expect(sameCommand(["study"], { npm_command: "exec" })).toBe("npx atento study");
  });
});

describe("StudyClock", () => {
  it("takes runs to come for as long as those known, on average", () => {
    let now = 0;
    const clock = new StudyClock(() => now);
    clock.finish("plain", 100);
    clock.start();
    now = 60;
    // this run takes 60 + 240 = 300; two more of (100 + 300)/2
    expect(clock.remaining(240, 2)).toBe(240 + 2 * 200);
  });
});
