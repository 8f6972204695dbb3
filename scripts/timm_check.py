"""The half of `npm run timm-check` that is timm's: loads our files, and writes files of its own.

usage: python timm_check.py FOLDER
"""
import json
import os
import sys

import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from timm.models.resnet import BasicBlock, Bottleneck, ResNet

torch.set_num_threads(2)
torch.manual_seed(0)


def build(block, layers, channels, classes, attention, **options):
    block_args = dict(attn_layer=attention) if attention else None
    cls = Bottleneck if block == "bottleneck" else BasicBlock
    return ResNet(cls, layers, num_classes=classes, channels=channels, block_args=block_args, **options).eval()


def randomise(net):
    """No statistic or scale that leaves things as they are."""
    with torch.no_grad():
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("running_mean") or (tensor.dim() == 1 and name.endswith("bias")):
                tensor.normal_(0, 0.1)
            elif tensor.dim() == 1:
                tensor.uniform_(0.5, 1.2)
    return net.eval()


def ours_in_timm(folder):
    for name in sorted(os.listdir(folder)):
        at = os.path.join(folder, name)
        with open(os.path.join(at, "case.json")) as file:
            case = json.load(file)
        net = build(case["block"], case["depths"], tuple(case["widths"]), case["classes"], case["attention"])
        net.load_state_dict(load_file(os.path.join(at, "model.safetensors")), strict=True)
        batch = load_file(os.path.join(at, "batch.safetensors"))
        with torch.no_grad():
            logits = net(batch["images"])
        worst = ((logits - batch["logits"]).abs().max() / logits.abs().max()).item()
        yield dict(name=name, keys=len(net.state_dict()), difference=worst)


def timms_for_us(folder, images):
    fifty = ([3, 4, 6, 3], (64, 128, 256, 512), 1000)
    nets = {
        "timm-resnet50": timm.create_model("resnet50"),
        "timm-seresnet50": timm.create_model("seresnet50"),
        "timm-resnet50-cbam": build("bottleneck", *fifty, "cbam"),
        "timm-resnet50-eca": build("bottleneck", *fifty, "eca"),
        "timm-resnet18-se": build("basic", [2, 2, 2, 2], (64, 128, 256, 512), 1000, "se"),
        "torchvision-resnet50": torchvision.models.resnet50(weights=None),
    }
    for name, net in nets.items():
        save_file(randomise(net).state_dict(), os.path.join(folder, f"{name}.safetensors"))
        with torch.no_grad():
            save_file({"logits": net(images)}, os.path.join(folder, f"{name}.logits"))
        yield name


root = sys.argv[1]
images = load_file(os.path.join(root, "images.safetensors"))["images"]
os.makedirs(os.path.join(root, "timm"), exist_ok=True)
print(json.dumps({
    "versions": {"timm": timm.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__},
    "ours": list(ours_in_timm(os.path.join(root, "ours"))),
    "theirs": list(timms_for_us(os.path.join(root, "timm"), images)),
}))
