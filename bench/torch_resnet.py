"""PyTorch's side of the benchmark: ResNet-50 for 32x32 images, one JSON line.

usage: torch_resnet.py STEM ATTENTION BATCH STEPS [channels_last] [compile]   (threads: THREADS, default all)
Compiled, inference is frozen: that folds batch norm into the convolutions, as ours does.
"""
import json, os, resource, statistics, sys, time

import torch
import torch._inductor.config
from torch import nn
from torch.nn import functional as F

STEMS = {  # kernel, stride, max pool, strides of the stages
    "cifar": (3, 1, False, (1, 2, 2, 2)),
    "pooled": (3, 1, True, (1, 2, 2, 2)),
    "imagenet": (7, 2, True, (1, 2, 2, 2)),
    "study": (7, 1, True, (1, 1, 1, 1)),
}


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, x):
        squeezed = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(squeezed))))


class Cbam(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, channels // 16, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels // 16, channels, 1, bias=False),
        )
        self.spatial = nn.Sequential(nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1))

    def forward(self, x):
        x = x * torch.sigmoid(self.mlp(x.mean((2, 3), keepdim=True)) + self.mlp(x.amax((2, 3), keepdim=True)))
        maps = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)
        return x * torch.sigmoid(self.spatial(maps))


ATTENTION = {"none": lambda channels: nn.Identity(), "se": SqueezeExcite, "cbam": Cbam}


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride, attention):
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
            ATTENTION[attention](outputs),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


def resnet50(stem, attention):
    kernel, stride, pool, strides = STEMS[stem]
    layers = [nn.Conv2d(3, 64, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    if pool:
        layers.append(nn.MaxPool2d(3, 2, 1))
    channels = 64
    for depth, width, first in zip((3, 4, 6, 3), (64, 128, 256, 512), strides):
        for block in range(depth):
            layers.append(Bottleneck(channels, width, first if block == 0 else 1, attention))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def main():
    stem, attention, batch, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    modes = sys.argv[5:]
    torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count())))
    torch.manual_seed(0)
    model = resnet50(stem, attention)
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    if "channels_last" in modes:
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    torch._inductor.config.freezing = True  # of inference alone
    run = torch.compile(model) if "compile" in modes else model

    def step():
        optimizer.zero_grad()
        F.cross_entropy(run(images), labels).backward()
        optimizer.step()

    def images_per_second(work):
        work(), work()
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        return batch / statistics.median(seconds)

    train = images_per_second(step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    model.eval()
    with torch.no_grad():
        infer = images_per_second(lambda: run(images))
    print(json.dumps({"version": f"PyTorch {torch.__version__}", "trainImagesPerSecond": train,
                      "parameters": sum(p.numel() for p in model.parameters()),
                      "inferImagesPerSecond": infer, "peakRssMiB": peak}))


if __name__ == "__main__":
    main()
