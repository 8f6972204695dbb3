"""pytorch-grad-cam's side of the benchmark: Grad-CAM of ResNet-50 at its last stage, one JSON line.

usage: torch_cam.py STEM ATTENTION BATCH IMAGES [channels_last]   (threads: THREADS, default all)
"""
import json, os, sys, time

import torch
from pytorch_grad_cam import GradCAM

from torch_resnet import resnet50


def main():
    stem, attention, batch, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count())))
    torch.manual_seed(0)
    model = resnet50(stem, attention).eval()
    images = torch.randn(count, 3, 32, 32)
    if "channels_last" in sys.argv[5:]:
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    cam = GradCAM(model, [model[-4]])  # the last block: pooling, flattening and the dense layer follow

    def work():
        for first in range(0, count, batch):
            cam(input_tensor=images[first : first + batch], targets=None)

    cam(input_tensor=images[:batch], targets=None)
    start = time.perf_counter()
    work()
    print(json.dumps({"version": f"PyTorch {torch.__version__}", "imagesPerSecond": count / (time.perf_counter() - start)}))


main()
