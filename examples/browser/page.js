import { openModel } from "./classifier.js";

const element = (id) => document.getElementById(id);
const say = (text) => {
  element("status").textContent = text;
};

const model = await openModel("/model.onnx").catch((error) =>
  say(`The model cannot be opened: ${error.message}`),
);
if (model) {
  say(`Choose a photograph: the model tells ${model.classes.join(", ")} apart.`);
  element("file").disabled = false;
}

element("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  try {
    const { classes, map, pixels } = await model.classify(await createImageBitmap(file));
    draw("image", pixels);
    if (map) draw("overlay", overlaid(pixels, map));
    element("classes").replaceChildren(...classes.slice(0, 5).map(row));
    say(`It sees: ${classes[0].name}. Right: where it looks for that, red most.`);
  } catch (error) {
    say(`${file.name} cannot be read as an image (${error.message}).`);
  }
});

function draw(id, pixels) {
  const canvas = element(id);
  [canvas.width, canvas.height] = [pixels.width, pixels.height];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** The map over the picture, blue to red, at 40 %. */
function overlaid(pixels, map) {
  const result = new ImageData(pixels.width, pixels.height);
  const ramp = (x, centre) => 255 * Math.min(1, Math.max(0, 1.5 - Math.abs(4 * x - centre)));
  for (let i = 0; i < map.length; i++) {
    [3, 2, 1].forEach((centre, channel) => {
      result.data[4 * i + channel] = 0.6 * pixels.data[4 * i + channel] + 0.4 * ramp(map[i], centre);
    });
    result.data[4 * i + 3] = 255;
  }
  return result;
}

function row({ name, probability }) {
  const line = document.createElement("tr");
  const meter = Object.assign(document.createElement("meter"), { value: probability });
  for (const content of [name, meter, `${(100 * probability).toFixed(1)} %`]) {
    const cell = document.createElement("td");
    cell.append(content);
    line.append(cell);
  }
  return line;
}
