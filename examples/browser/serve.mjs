// Serves the example page with a model on this machine: npm run example -- runs/quick/se/seed-1/model.onnx
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname, join } from "node:path";
import { argv } from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const runtime = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
const types = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** @returns the server, listening on the loopback interface only. */
export function serve(model, port = 0) {
  const places = [
    [/^\/model\.onnx$/, () => model],
    [/^\/onnxruntime-web\/([\w.-]+)$/, (name) => join(runtime, name)],
    [/^\/([\w-]+\.(?:js|html))?$/, (name = "index.html") => join(here, name)],
  ];
  const server = createServer(async ({ url = "/" }, response) => {
    const { pathname } = new URL(url, "http://localhost");
    const file = places
      .map(([pattern, place]) => pattern.test(pathname) && place(pattern.exec(pathname)[1]))
      .find(Boolean);
    try {
      const bytes = await readFile(file);
      response
        .writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" })
        .end(bytes);
    } catch {
      response.writeHead(404).end("there is no such file");
    }
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

if (import.meta.url === pathToFileURL(argv[1]).href) {
  const [, , model] = argv;
  if (!model) {
    console.error("expected a model: npm run example -- runs/quick/se/seed-1/model.onnx");
    process.exit(2);
  }
  const server = await serve(model, 8080);
  console.log(`open http://localhost:${server.address().port} in a browser; Ctrl-C ends`);
}
