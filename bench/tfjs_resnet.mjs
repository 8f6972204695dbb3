/**
 * TensorFlow.js's side of the benchmark: ResNet-50 for 32×32 images, one JSON line.
 *
 * usage: node tfjs_resnet.mjs STEM ATTENTION BATCH STEPS cpu|wasm   (TFJS: folder whose node_modules has it)
 * One thread: its wasm backend starts no others in Node.
 */
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [stem, attention, batch, steps, backend] = process.argv
  .slice(2)
  .map((word) => (/^\d+$/.test(word) ? Number(word) : word));
const require = createRequire(join(resolve(process.env.TFJS ?? "."), "package.json"));
const tf = require("@tensorflow/tfjs");
if (backend === "wasm") require("@tensorflow/tfjs-backend-wasm");

const STEMS = {
  cifar: { kernel: 3, stride: 1, pool: false, strides: [1, 2, 2, 2] },
  pooled: { kernel: 3, stride: 1, pool: true, strides: [1, 2, 2, 2] },
  imagenet: { kernel: 7, stride: 2, pool: true, strides: [1, 2, 2, 2] },
  study: { kernel: 7, stride: 1, pool: true, strides: [1, 1, 1, 1] },
};
const LONG = 20; // seconds: a longer step is measured once

// A layer is a function (x, training) => y that holds its variables; x is [N,H,W,C].
const variable = (values, trainable) => tf.variable(values, trainable);
const inOrder = (layers) => (x, training) => layers.reduce((y, layer) => layer(y, training), x);
const relu = (x) => tf.relu(x);

function conv(inputs, outputs, kernel, { stride = 1, bias = false } = {}) {
  const weight = variable(tf.randomNormal([kernel, kernel, inputs, outputs], 0, 0.05));
  const shift = bias && variable(tf.zeros([outputs]));
  return (x) => {
    const y = tf.conv2d(x, weight, stride, "same");
    return bias ? y.add(shift) : y;
  };
}

function norm(channels) {
  const [scale, shift] = [variable(tf.ones([channels])), variable(tf.zeros([channels]))];
  const [mean, variance] = [variable(tf.zeros([channels]), false), variable(tf.ones([channels]), false)];
  return (x, training) => {
    if (!training) return tf.batchNorm(x, mean, variance, shift, scale, 1e-5);
    const batch = tf.moments(x, [0, 1, 2]);
    mean.assign(mean.mul(0.9).add(batch.mean.mul(0.1)));
    variance.assign(variance.mul(0.9).add(batch.variance.mul(0.1)));
    return tf.batchNorm(x, batch.mean, batch.variance, shift, scale, 1e-5);
  };
}

const ATTENTION = {
  none: () => (x) => x,
  se(channels) {
    const reduce = conv(channels, channels / 16, 1, { bias: true });
    const expand = conv(channels / 16, channels, 1, { bias: true });
    return (x) => x.mul(tf.sigmoid(expand(relu(reduce(x.mean([1, 2], true))))));
  },
  cbam(channels) {
    const mlp = inOrder([conv(channels, channels / 16, 1), relu, conv(channels / 16, channels, 1)]);
    const spatial = inOrder([conv(2, 1, 7), norm(1)]);
    return (x, training) => {
      const y = x.mul(tf.sigmoid(mlp(x.mean([1, 2], true)).add(mlp(x.max([1, 2], true)))));
      const maps = tf.concat([y.mean(3, true), y.max(3, true)], 3);
      return y.mul(tf.sigmoid(spatial(maps, training)));
    };
  },
};

function bottleneck(inputs, width, stride) {
  const outputs = 4 * width;
  const body = inOrder([
    ...[conv(inputs, width, 1), norm(width), relu],
    ...[conv(width, width, 3, { stride }), norm(width), relu],
    ...[conv(width, outputs, 1), norm(outputs), ATTENTION[attention](outputs)],
  ]);
  const identity = stride === 1 && inputs === outputs;
  const shortcut = inOrder(identity ? [] : [conv(inputs, outputs, 1, { stride }), norm(outputs)]);
  return (x, training) => relu(body(x, training).add(shortcut(x, training)));
}

function resnet50() {
  const { kernel, stride, pool, strides } = STEMS[stem];
  const layers = [conv(3, 64, kernel, { stride }), norm(64), relu];
  if (pool) layers.push((x) => tf.maxPool(x, 3, 2, "same"));
  let channels = 64;
  for (const [stage, depth] of [3, 4, 6, 3].entries()) {
    for (let block = 0; block < depth; block++) {
      layers.push(bottleneck(channels, 64 * 2 ** stage, block === 0 ? strides[stage] : 1));
      channels = 256 * 2 ** stage;
    }
  }
  const dense = conv(channels, 10, 1, { bias: true });
  return inOrder([...layers, (x) => dense(x.mean([1, 2], true)).reshape([batch, 10])]);
}

async function imagesPerSecond(work) {
  const seconds = [];
  for (let k = 0; k < 2 + steps; k++) {
    const start = performance.now();
    const result = tf.tidy(work);
    await result.data();
    result.dispose();
    seconds.push((performance.now() - start) / 1000);
    if (seconds[0] > LONG) return batch / seconds[0];
  }
  return batch / seconds.slice(2).sort((a, b) => a - b)[Math.floor(steps / 2)];
}

await tf.setBackend(backend);
const model = resnet50();
const images = tf.randomNormal([batch, 32, 32, 3]);
const labels = tf.oneHot(tf.randomUniform([batch], 0, 10, "int32"), 10);
const optimizer = tf.train.momentum(0.1, 0.9);
const variables = tf.engine().registeredVariables;
const trained = Object.values(variables).filter((x) => x.trainable);
const answer = {
  version: `TensorFlow.js ${tf.version.tfjs}`,
  parameters: trained.reduce((sum, { size }) => sum + size, 0),
};

function step() {
  const loss = () => tf.losses.softmaxCrossEntropy(labels, model(images, true));
  const { value, grads } = tf.variableGrads(loss, trained);
  for (const name of Object.keys(grads)) grads[name] = grads[name].add(variables[name].mul(5e-4));
  optimizer.applyGradients(grads);
  return value;
}

try {
  answer.trainImagesPerSecond = await imagesPerSecond(step);
  answer.peakRssMiB = process.resourceUsage().maxRSS / 1024;
} catch (error) {
  answer.note = `cannot train: ${error.message}`;
}
answer.inferImagesPerSecond = await imagesPerSecond(() => model(images, false));
console.log(JSON.stringify(answer));
