"""TensorFlow's side of the benchmark: ResNet-50 for 32x32 images, one JSON line.

usage: tensorflow_resnet.py STEM ATTENTION BATCH STEPS [fused] [xla]   (threads: THREADS, default all)
Stride-2 windows are padded below and to the right alone, as Keras' "same" does: the same work, without a copy.
"""
import json, math, os, resource, statistics, sys, time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf
import keras
from keras import layers

STEMS = {  # kernel, stride, max pool, strides of the stages
    "cifar": (3, 1, False, (1, 2, 2, 2)),
    "pooled": (3, 1, True, (1, 2, 2, 2)),
    "imagenet": (7, 2, True, (1, 2, 2, 2)),
    "study": (7, 1, True, (1, 1, 1, 1)),
}


class FusedBatchNorm(layers.BatchNormalization):
    """Keras' layer on TensorFlow's one kernel for it, which Keras 3 does not use."""

    def call(self, x, training=False):
        given = {} if training else {"mean": self.moving_mean, "variance": self.moving_variance}
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, self.gamma, self.beta, epsilon=self.epsilon, is_training=training, **given)
        if training:
            share = 1 - self.momentum
            self.moving_mean.assign_sub(share * (self.moving_mean - mean))
            self.moving_variance.assign_sub(share * (self.moving_variance - variance))
        return y


class ResNet50:
    def __init__(self, stem, attention, fused):
        self.stem, self.fused = STEMS[stem], fused
        self.attend = {"none": lambda x: x, "se": self.squeeze_excite, "cbam": self.cbam}[attention]

    def norm(self, x):
        return (FusedBatchNorm if self.fused else layers.BatchNormalization)(momentum=0.9, epsilon=1e-5)(x)

    def conv_norm(self, x, channels, kernel, stride=1):
        return self.norm(layers.Conv2D(channels, kernel, stride, "same", use_bias=False)(x))

    def squeeze_excite(self, x):
        channels = x.shape[-1]
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Dense(channels // 16, "relu")(gate)
        return x * layers.Dense(channels, "sigmoid")(gate)

    def cbam(self, x):
        channels = x.shape[-1]
        reduce, expand = layers.Dense(channels // 16, "relu", use_bias=False), layers.Dense(channels, use_bias=False)
        pooled = [layers.GlobalAveragePooling2D(keepdims=True)(x), layers.GlobalMaxPooling2D(keepdims=True)(x)]
        mean, largest = (expand(reduce(each)) for each in pooled)
        x = x * keras.ops.sigmoid(mean + largest)
        maps = keras.ops.concatenate([keras.ops.mean(x, 3, keepdims=True), keras.ops.max(x, 3, keepdims=True)], 3)
        return x * keras.ops.sigmoid(self.conv_norm(maps, 1, 7))

    def bottleneck(self, x, width, stride):
        y = layers.ReLU()(self.conv_norm(x, width, 1))
        y = layers.ReLU()(self.conv_norm(y, width, 3, stride))
        y = self.attend(self.conv_norm(y, 4 * width, 1))
        identity = stride == 1 and x.shape[-1] == 4 * width
        return layers.ReLU()(y + (x if identity else self.conv_norm(x, 4 * width, 1, stride)))

    def build(self):
        kernel, stride, pool, strides = self.stem
        images = layers.Input((32, 32, 3))
        x = layers.ReLU()(self.conv_norm(images, 64, kernel, stride))
        if pool:
            x = layers.MaxPooling2D(3, 2, "same")(x)
        for depth, width, first in zip((3, 4, 6, 3), (64, 128, 256, 512), strides):
            for block in range(depth):
                x = self.bottleneck(x, width, first if block == 0 else 1)
        return keras.Model(images, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def main():
    stem, attention, batch, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    modes = sys.argv[5:]
    threads = int(os.environ.get("THREADS", os.cpu_count()))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.random.set_seed(0)
    model = ResNet50(stem, attention, "fused" in modes).build()
    images, labels = tf.random.normal((batch, 32, 32, 3)), tf.random.uniform((batch,), 0, 10, tf.int32)
    weights = model.trainable_variables
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(weights)

    @tf.function(jit_compile="xla" in modes)
    def step():
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        gradients = tape.gradient(loss, weights)
        optimizer.apply([g + 5e-4 * w for g, w in zip(gradients, weights)])
        return loss

    @tf.function(jit_compile="xla" in modes)
    def infer():
        return model(images, training=False)

    def images_per_second(work):
        work().numpy(), work().numpy()
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            work().numpy()
            seconds.append(time.perf_counter() - start)
        return batch / statistics.median(seconds)

    train = images_per_second(step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    infer = images_per_second(infer)
    print(json.dumps({"version": f"TensorFlow {tf.__version__}", "trainImagesPerSecond": train,
                      "parameters": sum(math.prod(w.shape) for w in weights),
                      "inferImagesPerSecond": infer, "peakRssMiB": peak}))


main()
