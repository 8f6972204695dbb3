import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { chromiumPath, noBrowser } from "../support/browser.ts";
import { writeMadeUpStudy } from "../support/studyFiles.ts";
import { atento, temporaryFolder } from "./support.ts";

/** Where to keep pictures of the page, to look at. */
const pictures = process.env["ATENTO_SCREENSHOTS"];

describe.skipIf(noBrowser)(`the page${noBrowser ? ` (skipped: ${noBrowser})` : ""}`, () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let browser: Browser;
  let url: string;
  let spanish: string;
  let both: string;
  let running: string;
  let bare: string;

  beforeAll(async () => {
    folder = temporaryFolder();
    const start = { cwd: folder.path };
    await writeMadeUpStudy(folder.path);
    await writeMadeUpStudy(folder.path, {
      name: "running",
      epochs: 30,
      running: true,
      heatmaps: false,
      testImages: 200,
    });
    await writeMadeUpStudy(folder.path, {
      name: "bare",
      seeds: [1],
      epochs: 8,
      heatmaps: false,
      testImages: 200,
    });
    // seconds of the processor, whatever else the machine does meanwhile
    const timed = ["bash", "-c", 'TIMEFORMAT="%U %S"; time "$@"', "timed"];
    const report = await atento(["report", "made-up", "--json"], { ...start, through: timed });
    expect(report.code).toBe(0);
    const seconds = report.stderr.trim().split(" ").map(Number);
    expect(seconds).toHaveLength(2);
    expect(seconds[0] + seconds[1]).toBeLessThan(10); // 4 variants × 3 seeds × 100 epochs
    const page = JSON.parse(report.stdout).page;
    expect(page).toBe(join("made-up", "report", "index.html"));
    for (const args of [
      ["made-up", "--lang", "es", "--to", "es.html"],
      ["made-up", "bare", "--to", "both.html"],
      ["running"],
      ["bare"],
    ]) {
      expect(await atento(["report", ...args], start)).toMatchObject({ code: 0 });
    }
    const at = (path: string) => pathToFileURL(join(folder.path, path)).href;
    [url, spanish, both] = [at(page), at("es.html"), at("both.html")];
    [running, bare] = [at("running/report/index.html"), at("bare/report/index.html")];
    browser = await chromium.launch({
      executablePath: chromiumPath,
      args: [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
      ],
    });
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    folder?.remove();
  });

  let context: BrowserContext;
  let page: Page;
  let complaints: string[];
  let requests: string[];
  async function open(at: string, options: Parameters<Browser["newContext"]>[0] = {}): Promise<void> {
    context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    page = await context.newPage();
    [complaints, requests] = [[], []];
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => {
      if (!/^(file|data):/.test(request.url())) requests.push(request.url());
    });
    await page.goto(at);
  }
  beforeEach(() => open(url));
  afterEach(async () => {
    expect(complaints).toEqual([]);
    expect(requests).toEqual([]);
    await context.close();
  });

  const section = (name: string) => page.locator(`section[id^="${name}-"]`).first();

  it("answers which variant is best, by how much, whether it is real, what it costs, where it looks", async () => {
    const answers = await section("summary").locator("dl > div").allInnerTexts();
    expect(answers).toHaveLength(5);
    expect(answers[0]).toMatch(/Which variant is best\?\s+cbam has the highest test accuracy: 9\d\.\d\d %/);
    expect(answers[1]).toMatch(/points of test accuracy above/);
    expect(answers[2]).toMatch(/chance|No difference shown/);
    expect(answers[3]).toMatch(
      /Against plain, cbam has 9\.1 % more parameters, 3\.3 % more multiply-adds, and trains 2\d % slower/,
    );
    expect(answers[4]).toMatch(/The maximum of grad-cam is on the object in \d+ % of the images for cbam/);
  });

  it("sorts the table, there and back, and says so", async () => {
    const table = section("table");
    const names = () => table.locator("tbody th").allInnerTexts();
    const title = table.locator("thead th", { hasText: "parameters" });
    await title.getByRole("button").click();
    expect(await title.getAttribute("aria-sort")).toBe("descending");
    expect((await names())[0]).toBe("cbam");
    await title.getByRole("button").click();
    expect(await title.getAttribute("aria-sort")).toBe("ascending");
    expect((await names())[0]).toBe("plain");
    await table.locator("thead th", { hasText: "test acc. %" }).getByRole("button").press("Enter");
    expect((await names())[0]).toBe("cbam");
    expect(await title.getAttribute("aria-sort")).toBe("none");
    expect(await table.locator("td.best").count()).toBeGreaterThan(3);
  });

  it("tells of a pair in a sentence, with the figures behind it", async () => {
    const pairs = section("pairs").locator("li");
    expect(await pairs.count()).toBe(6);
    await pairs.first().locator("summary").click();
    expect(await pairs.first().innerText()).toMatch(/t\(2\) = .*McNemar, seed 3, exact/s);
  });

  it("shows an epoch's values under the pointer, zooms, hides, smooths, takes the logarithm", async () => {
    const curves = section("curves");
    await curves.scrollIntoViewIfNeeded();
    const chart = curves.locator(".panel svg[role=img]").nth(1);
    const box = (await chart.boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + 100);
    const tip = curves.locator(".tip").nth(1);
    await tip.waitFor({ state: "visible" });
    expect(await tip.innerText()).toMatch(/epoch \d+[\s\S]*cbam[\s\S]*\d\d\.\d\d %/);
    const ticks = () => chart.locator("text.tick").allInnerTexts();
    const before = await ticks();
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.8, box.y + 100, { steps: 4 });
    await page.mouse.up();
    expect(await ticks()).not.toEqual(before);
    await curves.getByRole("button", { name: "All epochs" }).click();
    expect(await ticks()).toEqual(before);
    await page.mouse.move(5, 5);
    const line = () => chart.locator("polyline").first().getAttribute("points");
    const rough = await line();
    await curves.getByRole("slider").fill("0.9");
    expect(await line()).not.toBe(rough);
    await curves.getByLabel("log scale").check();
    await curves.getByRole("button", { name: "loss" }).click();
    expect(await chart.getAttribute("aria-label")).toBe(
      "Validation loss an epoch of plain, se, cbam, se-adam",
    );
    await curves.locator(".legend").getByRole("button", { name: "se-adam" }).click();
    expect(await chart.getAttribute("aria-label")).toBe("Validation loss an epoch of plain, se, cbam");
    expect(await chart.locator("polyline").count()).toBe(3);
    expect(await chart.locator(".band").count()).toBe(3);
  });

  it("goes along the epochs by keyboard", async () => {
    const chart = section("curves").locator(".panel svg[role=img]").first();
    await chart.focus();
    for (const key of ["ArrowRight", "ArrowRight", "ArrowRight"]) await page.keyboard.press(key);
    const tip = section("curves").locator(".tip").first();
    expect(await tip.innerText()).toContain("epoch 3");
    await page.keyboard.press("+");
    expect(await tip.innerText()).toContain("epoch 3");
    await page.keyboard.press("Escape");
    await tip.waitFor({ state: "hidden" });
  });

  it("changes method, seed and strength of the heatmaps", async () => {
    const maps = section("heatmaps");
    await maps.scrollIntoViewIfNeeded();
    const canvas = maps.locator("td canvas").first();
    // decoded and drawn
    await page.waitForFunction(
      () => document.querySelector<HTMLCanvasElement>(".heatmaps td canvas")!.width === 128,
    );
    const pixels = () => canvas.evaluate((element) => (element as HTMLCanvasElement).toDataURL());
    const settled = async () => {
      await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 100)));
      return pixels();
    };
    const first = await settled();
    await maps.getByLabel("Strength").fill("0");
    const plain = await settled();
    expect(plain).not.toBe(first);
    await maps.getByLabel("outline").uncheck();
    expect(await settled()).not.toBe(plain);
    await maps.getByLabel("outline").check();
    await maps.getByLabel("Strength").fill("0.55");
    expect(await settled()).toBe(first);
    const scores = () => maps.locator(".scores").innerText();
    const before = await scores();
    await maps.getByRole("combobox", { name: "Method" }).selectOption("layer-cam");
    expect(await settled()).not.toBe(first);
    expect(await scores()).not.toBe(before);
    expect(await maps.locator("tbody").first().locator("tr").count()).toBe(10);
    await maps.getByRole("button", { name: "Show 6 more images" }).click();
    expect(await maps.locator("tbody").first().locator("tr").count()).toBe(16);
    await maps.getByRole("combobox", { name: "Seed" }).selectOption("2");
    expect(await section("disagree").innerText()).toMatch(
      /differ on \d+ of all 1,000 images[\s\S]*different classes for \d+ of the 16 images/,
    );
  });

  it("draws a map where it belongs: the colour of its strongest cell lies over the object's pixels there", async () => {
    const data = await page.evaluate(() => document.documentElement.outerHTML.length);
    expect(data).toBeGreaterThan(0);
    const maps = section("heatmaps");
    await maps.getByLabel("outline").uncheck();
    await maps.getByLabel("Strength").fill("1");
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 200)));
    const { heatmaps } = embedded(url);
    const { method, at } = { method: heatmaps.runs[0].methods[0], at: 0 };
    const cells = Buffer.from(method.maps, "base64").subarray(at * 64, (at + 1) * 64);
    const strongest = cells.indexOf(255);
    const color = await maps
      .locator("td canvas")
      .first()
      .evaluate(
        (element, [y, x]) =>
          Array.from(
            (element as HTMLCanvasElement)
              .getContext("2d", { willReadFrequently: true })!
              .getImageData(x, y, 1, 1)
              .data.slice(0, 3),
          ),
        [Math.floor(strongest / 8) * 16 + 8, (strongest % 8) * 16 + 8],
      );
    // the light end of the ramp
    for (const [k, value] of [252, 253, 191].entries()) expect(Math.abs(color[k] - value)).toBeLessThan(12);
  });

  it("shows gates by stage, and those of one module", async () => {
    const gates = section("gates");
    expect(await gates.locator("svg").first().textContent()).toMatch(/stage 1[\s\S]*stage 4/);
    await gates
      .getByRole("combobox", { name: "Module" })
      .selectOption({ label: "cbam: layer4.0.se.spatial" });
    expect(await gates.locator(".spatial canvas").count()).toBe(10);
  });

  it("shows costs, confusion of each variant, recipe, environment and command", async () => {
    await section("cost").getByRole("button", { name: "images/s" }).click();
    expect(await section("cost").locator("svg[role=img]").getAttribute("aria-label")).toContain("plain 8");
    const confusion = section("classes").locator(".confusion");
    const before = await confusion.innerText();
    await section("classes").getByRole("combobox", { name: "Variant" }).selectOption("cbam");
    expect(await confusion.innerText()).not.toBe(before);
    const recipe = await section("recipe").innerText();
    expect(recipe).toContain("npx atento study made-up");
    expect(recipe).toMatch(/model\.attention\.name\s+none\s+se\s+cbam\s+se/);
    expect(recipe).toContain("native engine (made up)");
  });

  it("is light or dark as the system says, or as chosen", async () => {
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(await paper()).toBe("rgb(255, 255, 255)");
    await page.getByRole("button", { name: "dark" }).click();
    expect(await paper()).toBe("rgb(20, 22, 26)");
    await page.reload();
    expect(await paper()).toBe("rgb(20, 22, 26)");
    await page.getByRole("button", { name: "system" }).click();
    await page.emulateMedia({ colorScheme: "dark" });
    expect(await paper()).toBe("rgb(20, 22, 26)");
  });

  it("reaches every control by keyboard alone", async () => {
    const wanted = await page.evaluate(
      () =>
        [...document.querySelectorAll("a[href], button, select, input, summary, [tabindex='0']")].filter(
          (e) => e.checkVisibility(),
        ).length,
    );
    const seen = new Set<string>();
    for (let k = 0; k < wanted + 3; k++) {
      await page.keyboard.press("Tab");
      seen.add(
        await page.evaluate(() => {
          const element = document.activeElement!;
          const all = [...document.querySelectorAll("*")];
          return `${all.indexOf(element)}`;
        }),
      );
    }
    expect(seen.size).toBeGreaterThanOrEqual(wanted);
  });

  const { resolve } = createRequire(import.meta.url);
  const axe = readFileSync(resolve("axe-core/axe.min.js"), "utf8");
  it.each(["light", "dark"] as const)("has no serious fault that axe-core knows, %s", async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    for (const details of await page.locator("details").all())
      await details.evaluate((e) => e.setAttribute("open", ""));
    await page.evaluate(axe);
    const found = await page.evaluate(async () => {
      const { axe } = globalThis as unknown as {
        axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> };
      };
      return (await axe.run()).violations.map(({ id, impact, nodes }) => ({
        id,
        impact,
        html: nodes[0].html.slice(0, 200),
        count: nodes.length,
      }));
    });
    expect(found.filter(({ impact }) => impact === "serious" || impact === "critical")).toEqual([]);
  });

  it.each([
    [390, "light"],
    [390, "dark"],
    [1280, "light"],
    [1280, "dark"],
  ] as const)("fits %s pixels, %s", async (width, colorScheme) => {
    await context.close();
    await open(url, {
      viewport: { width, height: 844 },
      colorScheme,
      deviceScaleFactor: width < 500 ? 2 : 1,
      hasTouch: width < 500,
      isMobile: width < 500,
    });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(overflow).toBeLessThanOrEqual(0);
    if (pictures)
      await page.screenshot({ path: join(pictures, `page-${width}-${colorScheme}.png`), fullPage: true });
  });

  it("speaks Spanish", async () => {
    await context.close();
    await open(spanish);
    expect(await page.getAttribute("html", "lang")).toBe("es");
    expect(await section("summary").innerText()).toMatch(
      /cbam tiene la mayor exactitud de prueba: 9\d,\d\d %/,
    );
    const english = /\b(the|variant|seeds?|epochs?|accuracy)\b/;
    const text = await page.evaluate(() => {
      for (const pre of document.querySelectorAll("pre, code, .facts, .shared")) pre.remove();
      return document.body.innerText;
    });
    expect(english.exec(text)?.[0]).toBeUndefined();
  });

  it("holds several studies", async () => {
    await context.close();
    await open(both);
    expect(await page.locator("article").count()).toBe(2);
    expect(await page.locator("h1").innerText()).toBe("made-up · bare");
    const ids = await page.evaluate(() => [...document.querySelectorAll("[id]")].map(({ id }) => id));
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("says of a study still running what is missing, and shows its curves", async () => {
    await context.close();
    await open(running);
    const text = await page.locator("main").innerText();
    expect(text).toContain("This study is not finished: 11 of 12 runs are done.");
    expect(text).toContain("se-adam, seed 3: is trained now, or was killed (10 of 30 epochs)");
    expect(text).toContain("No heatmaps were computed for this study");
    if (pictures) await page.screenshot({ path: join(pictures, "page-running.png"), fullPage: true });
  });

  it("says with one seed what cannot be concluded", async () => {
    await context.close();
    await open(bare);
    expect(await section("summary").innerText()).toContain(
      "With one seed nothing can be concluded about the recipes",
    );
    expect(await section("pairs").innerText()).toMatch(/one seed/);
    if (pictures) await page.screenshot({ path: join(pictures, "page-bare.png"), fullPage: true });
  });

  function embedded(at: string) {
    const html = readFileSync(new URL(at), "utf8");
    const [, json] = /<script id="data" type="application\/json">(.*?)<\/script>/s.exec(html)!;
    return JSON.parse(json).studies[0];
  }
});
