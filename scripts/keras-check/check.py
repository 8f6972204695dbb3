"""Loads .h5 files of Atento's in tf-keras 2 or Keras 3 (TF_USE_LEGACY_KERAS=1 or 0), compares, trains, saves again.

usage: check.py FOLDER VARIANT...   FOLDER holds images.f32, VARIANT.h5, VARIANT.weights-only.h5, VARIANT.f32
Writes kerasN.json: files for Atento to read, with the probabilities they give here.
"""
import json
import os
import sys

import h5py
import numpy as np

VERSION = 2 if os.environ.get("TF_USE_LEGACY_KERAS") == "1" else 3
if VERSION == 2:
    import tf_keras as keras
else:
    import keras

L = keras.layers
MOST = 1e-5
folder, variants = sys.argv[1], sys.argv[2:]
listed = []


def at(name):
    return os.path.join(folder, name)


def expect(good, what):
    print(f"{'ok  ' if good else 'FAIL'} Keras {keras.__version__} {what}", flush=True)
    if not good:
        sys.exit(1)


def compare(net, images, expected, what):
    error = float(np.abs(net.predict(images, verbose=0) - expected).max())
    expect(error < MOST, f"{what}: probabilities differ by {error:.1e}")


def list_file(net, images, name, file, weights=None, size=(32, 32)):
    net.predict(images, verbose=0).astype("float32").tofile(at(f"{name}.f32"))
    images.astype("float32").tofile(at(f"{name}.images.f32"))
    listed.append({
        "file": file, "weights": weights, "probabilities": f"{name}.f32",
        "images": f"{name}.images.f32", "size": list(size),
    })


def structure(path):
    """Groups, datasets with shape and type, and lists of names, as h5py sees them."""
    found = {}

    def visit(name, node):
        # Keras 3 leaves ":0" away, and calls layers' weights by longer paths
        if isinstance(node, h5py.Dataset):
            found[name.removesuffix(":0")] = (node.shape, str(node.dtype))
        else:
            found[name] = {k: [str(n.decode() if hasattr(n, "decode") else n).removesuffix(":0") for n in node.attrs[k]]
                           for k in node.attrs if k in ("layer_names", "weight_names")}

    with h5py.File(path) as file:
        file["model_weights"].visititems(visit)
        found["/"] = [n.decode() if hasattr(n, "decode") else n for n in file["model_weights"].attrs["layer_names"]]
        attributes = {k for k in file.attrs}
    return found, attributes


def check(variant, images, labels):
    path = at(f"{variant}.h5")
    expected = np.fromfile(at(f"{variant}.f32"), "float32").reshape(len(images), -1)
    spread = float(expected.std(axis=0).max())
    expect(spread > 100 * MOST, f"{variant}: is asked about images that differ, by {spread:.1e}")
    net = keras.models.load_model(path)
    compare(net, images, expected, f"{variant}: load_model")

    fresh = keras.models.clone_model(net)
    fresh.load_weights(at(f"{variant}.weights-only.h5"))
    compare(fresh, images, expected, f"{variant}: load_weights")

    again = at(f"{variant}.again{VERSION}.h5")
    net.save(again)
    (ours, our_attributes), (theirs, their_attributes) = structure(path), structure(again)
    different = [k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)]
    expect(not different, f"{variant}: groups and datasets are those it writes itself {different[:5]}")
    missing = their_attributes - our_attributes - {"optimizer_weights"}
    expect(not missing, f"{variant}: attributes are those it writes itself {sorted(missing)}")

    if variant == "se-adam":
        check_optimizer(variant, net, path)
        if VERSION == 3:  # it has built the optimizer of an .h5 for no variables: only a new one trains
            net.compile("adam", "sparse_categorical_crossentropy")
    before = net.get_weights()
    loss = float(np.ravel(net.train_on_batch(images, labels))[0])
    moved = sum(float(np.abs(a - b).max()) > 0 for a, b in zip(before, net.get_weights()))
    expect(np.isfinite(loss) and moved == len(before), f"{variant}: a step of training, loss {loss:.3f}, moves all {moved} tensors")

    trained, weights = f"{variant}.trained{VERSION}.h5", f"{variant}.trained{VERSION}.weights.h5"
    net.save(at(trained))
    net.save_weights(at(weights))
    list_file(net, images, f"{variant}.trained{VERSION}", trained)
    list_file(net, images, f"{variant}.trained{VERSION}.weights", f"{variant}.h5", weights)


def check_optimizer(variant, net, path):
    """tf-keras 2 goes on with the step and the moments of the file; Keras 3 leaves them alone."""
    with h5py.File(path) as file:
        group = file["optimizer_weights"]
        stored = [np.asarray(group[name]) for name in group.attrs["weight_names"]]
    expect(stored[0] > 0 and stored[0].shape == (), f"{variant}: {stored[0]} steps are stored")
    if VERSION == 2:
        held = [np.asarray(v) for v in net.optimizer.weights]
        good = len(held) == len(stored) and all(np.array_equal(a, b) for a, b in zip(held, stored))
        expect(good, f"{variant}: the optimizer holds the {len(stored)} tensors that were stored")


def shake(net, seed):
    """Weights and statistics that are not those a model starts from."""
    random = np.random.default_rng(seed)
    values = [v + (0.05 * np.abs(random.normal(size=v.shape))).astype("float32") if v.ndim == 1 else v for v in net.get_weights()]
    net.set_weights(values)
    return net


def foreign():
    """Models that Keras' users have: applications, sequential ones, models inside models, other stock layers."""
    random = np.random.default_rng(0)
    inputs = keras.Input((30, 26, 3))
    x = L.Rescaling(1 / 2.0, 0.1)(inputs)
    x = L.Conv2D(8, 3, 2, padding="same", activation="relu")(x)
    x = L.BatchNormalization(scale=False)(x)
    x = L.LeakyReLU()(L.Conv2D(8, (3, 2), (2, 1), padding="same")(x))
    y = L.MaxPooling2D(3, 2, padding="same")(x)
    z = L.AveragePooling2D(3, 2, padding="same")(x)
    x = L.Concatenate()([y, z])
    x = L.Dropout(0.3)(L.BatchNormalization(center=False)(x))
    a = L.Activation("tanh")(L.Conv2D(8, 1)(x))
    b = L.ReLU(6.0)(L.Conv2D(8, 1)(x))
    x = L.Average()([L.Subtract()([a, b]), L.Multiply()([a, b])])
    x = L.Concatenate(axis=1)([x, L.ZeroPadding2D(((1, 0), (0, 0)))(x)])
    x = L.Conv1D(6, 3, padding="same", activation="swish")(L.Reshape((-1, 8))(x))
    x = L.MaxPooling1D(2)(L.Permute((2, 1))(x))
    x = L.Flatten()(x)
    odd = keras.Model(inputs, L.Softmax()(L.Dense(7)(x)), name="odd")

    block = keras.Sequential([L.Conv2D(8, 3, activation="relu"), L.BatchNormalization()], name="block")
    inputs = keras.Input((32, 32, 3))
    nested = keras.Model(inputs, L.Dense(5, activation="softmax")(L.GlobalAveragePooling2D()(block(inputs))), name="nested")
    sequential = keras.Sequential([
        L.Conv2D(8, 5, strides=2, padding="same", input_shape=(32, 32, 3)) if VERSION == 2 else keras.Input((32, 32, 3)),
        *([] if VERSION == 2 else [L.Conv2D(8, 5, strides=2, padding="same")]),
        L.BatchNormalization(), L.Activation("relu"), L.MaxPooling2D(), L.Flatten(), L.Dense(16, "relu"), L.Dense(4, "softmax"),
    ])
    inputs = keras.Input((None, None, 3))
    x = L.GlobalMaxPooling2D(keepdims=True)(L.Conv2D(8, 3, 2, padding="same", activation="relu")(inputs))
    any_size = keras.Model(inputs, L.Dense(3, "softmax")(L.Reshape((-1,))(x)), name="any_size")
    applications = keras.applications
    base = applications.ResNet50V2(weights=None, include_top=False, input_shape=(64, 64, 3))
    base.trainable = False
    inputs = keras.Input((64, 64, 3))
    x = L.Dropout(0.2)(L.GlobalAveragePooling2D()(base(inputs, training=False)))
    transfer = keras.Model(inputs, L.Dense(5, "softmax")(x), name="transfer")
    models = {
        "odd": odd, "nested": nested, "sequential": sequential,
        "resnet50": applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10),
        "resnet50v2": applications.ResNet50V2(weights=None, input_shape=(64, 64, 3), classes=10),
        "any-size": any_size, "transfer": transfer,
    }
    for name, net in models.items():
        height, width = [length or 48 for length in net.input_shape[1:3]]
        images = random.normal(size=(4, height, width, 3)).astype("float32")
        file = f"{name}.keras{VERSION}.h5"
        shake(net, 1).save(at(file))
        list_file(net, images, f"{name}{VERSION}", file, size=(height, width))
        if name in ("transfer", "resnet50"):
            # other weights, so that those of the whole file do not stand for them
            weights = f"{name}.keras{VERSION}.weights.h5"
            shake(net, 2).save_weights(at(weights))
            list_file(net, images, f"{name}{VERSION}.weights", file, weights, size=(height, width))


images = np.fromfile(at("images.f32"), "float32").reshape(-1, 32, 32, 3)
labels = np.arange(len(images)) % 5
for variant in variants:
    check(variant, images, labels)
foreign()
with open(at(f"keras{VERSION}.json"), "w") as file:
    json.dump(listed, file)
