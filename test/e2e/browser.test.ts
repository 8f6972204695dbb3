import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serve } from "../../examples/browser/serve.mjs";
import { exportModel } from "../../src/exchange/export.ts";
import { formats } from "../../src/exchange/formats.ts";
import { Classifier } from "../../src/inference.ts";
import { resolveModel } from "../../src/models/options.ts";
import { chromiumPath, noBrowser } from "../support/browser.ts";
import { difference } from "../support/compare.ts";
import { madeUp } from "../support/trained.ts";

/** Nothing but the page's own requests. */
const QUIET = [
  ...["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  ...["--no-first-run", "--disable-default-apps", "--disable-domain-reliability", "--disable-extensions"],
];

interface Seen {
  readonly classes: readonly { readonly name: string; readonly probability: number }[];
  readonly map: readonly number[];
}

describe.skipIf(noBrowser)(
  `the example page in a browser${noBrowser ? ` (skipped: ${noBrowser})` : ""}`,
  () => {
    let folder: string;
    let server: Server;
    let browser: Browser;
    let page: Page;
    let url: string;
    const complaints: string[] = [];

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "atento-browser-"));
      const model = resolveModel(
        { name: "resnet14", depths: [1, 2], widths: [8, 16], stem: "cifar", attention: "cbam" },
        3,
      );
      const trained = madeUp(model, [24, 32], { classes: ["cat", "dog", "ship"] });
      await exportModel(trained, folder, formats.values());
      const pixels = Uint8Array.from({ length: 24 * 32 * 3 }, (_, i) => (i * 29 + (i >> 6) * 11) % 256);
      await sharp(pixels, { raw: { width: 32, height: 24, channels: 3 } })
        .png()
        .toFile(join(folder, "image.png"));
      writeFileSync(join(folder, "text.png"), "no image");
      server = await serve(join(folder, "model.onnx"));
      url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      browser = await chromium.launch({ executablePath: chromiumPath, args: QUIET });
      page = await browser.newPage();
      page.on("console", (message) => {
        if (message.type() === "error") complaints.push(message.text());
      });
      page.on("pageerror", (error) => complaints.push(error.message));
      page.on("request", (request) => {
        if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(url))
          complaints.push(request.url());
      });
      await page.goto(url);
      await page.waitForFunction('!document.querySelector("#file").disabled');
    });
    afterAll(async () => {
      await browser?.close();
      server?.close();
      if (folder) rmSync(folder, { recursive: true, force: true });
    });

    test("shows the classes and a map that are those of our engine", async () => {
      expect(await page.textContent("#status")).toContain("cat, dog, ship");
      await page.setInputFiles("#file", join(folder, "image.png"));
      await page.waitForFunction('document.querySelector("#status").textContent.startsWith("It sees")');
      const classifier = await Classifier.load(join(folder, "model.onnx"));
      const { classes, map } = await classifier.classify(join(folder, "image.png"), { map: true });
      classifier.close();
      expect(await page.textContent("#status")).toContain(`It sees: ${classes[0].name}.`);
      const rows = await page.locator("#classes tr").allTextContents();
      expect(rows).toEqual(
        classes.map(({ name, probability }) => `${name}${(100 * probability).toFixed(1)} %`),
      );
      // scripts as texts: they are the page's, not this test's
      const seen = await page.evaluate<Seen>(`(async () => {
        const { openModel } = await import("/classifier.js");
        const model = await openModel("/model.onnx");
        const [file] = document.querySelector("#file").files;
        const { classes, map } = await model.classify(await createImageBitmap(file));
        return { classes, map: [...map] };
      })()`);
      expect(seen.classes.map(({ name }) => name)).toEqual(classes.map(({ name }) => name));
      for (const [k, { probability }] of seen.classes.entries())
        expect(probability).toBeCloseTo(classes[k].probability, 4);
      expect(difference(seen.map, map!.values, [24, 32], 1e-4)).toBeUndefined();
      // the overlay is drawn: red where the map is 1, blue where it is 0
      const [hot, cold] = await page.evaluate<
        number[][]
      >(`[${map!.values.indexOf(1)}, ${map!.values.indexOf(0)}].map((k) => {
        const [over, under] = ["#overlay", "#image"].map((id) =>
          document.querySelector(id).getContext("2d").getImageData(k % 32, Math.floor(k / 32), 1, 1).data);
        return [...over].map((value, channel) => value - 0.6 * under[channel]);
      })`);
      expect(hot[0]).toBeGreaterThan(45);
      expect(hot[2]).toBeLessThan(2);
      expect(cold[2]).toBeGreaterThan(45);
      expect(cold[0]).toBeLessThan(2);
    });

    test("says what is no image, and asks nobody else for anything", async () => {
      await page.setInputFiles("#file", join(folder, "text.png"));
      await page.waitForFunction('document.querySelector("#status").textContent.includes("cannot be read")');
      expect(complaints).toEqual([]);
    });
  },
);
