"""One task of a Sapiens 0.3b on one 4K photo: our way, and the way of the official scripts, written from the specification.

    python tests/bench/official_way.py TASK WAY [ANSWER.npy]

WAY is official, float32, bf16, or compiled (bf16 too); JSON is printed, and the answer saved where a third argument says.

The official way (specification, section 7.2): picture squashed to 1024 x 768; float32, eager, InstanceNorm and SiLU apart; the
whole answer to 1024 x 768 and to the photo's size at once; heatmaps decoded map by map in numpy and OpenCV. Both ways have the
same random weights.
"""

import json
import resource
import sys
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from decoding import reference
from torch import nn

from shared.build import build
from shared.dense.decoder import Decoder, NormSiLU
from shared.dense.model import DenseModel
from shared.infer.predictor import Predictor

TASKS = {
    "seg": {"type": "tasks.seg.task.Seg"},
    "depth": {"type": "tasks.depth.task.Depth"},
    "normal": {"type": "tasks.normal.task.Normal"},
    "pose": {"type": "tasks.pose.task.Pose", "skeleton": "sapiens308"},
}
WAYS = ("official", "float32", "bf16", "compiled")
HW = (4096, 3072)
SIZE = (1024, 768)


def model_of(task: str) -> DenseModel:
    """A 0.3b with the official head and random weights."""
    backbone = {"type": "shared.vit.model.ViT", "size": "300m", "image_hw": SIZE}
    torch.manual_seed(0)
    model = build({"type": "shared.dense.model.DenseModel", "backbone": backbone, "tasks": [TASKS[task]]}).eval()
    for parameter in model.decoders.parameters():  # deeper answers than those of fresh weights, so that they can be compared
        nn.init.normal_(parameter, std=0.02)
    return model


class Official(nn.Module):
    """InstanceNorm, then SiLU, as the official layers have them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(F.instance_norm(x), inplace=True)


@torch.inference_mode()
def official(model: DenseModel, image: np.ndarray) -> np.ndarray:
    """The answer of the official scripts; of pose without the flip test, in heatmap pixels."""
    (task,), decoder = model.tasks, model.decoders[model.tasks[0].name]
    assert isinstance(decoder, Decoder)
    seen = cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    x = model.backbone(model.normalise(torch.from_numpy(seen.transpose(2, 0, 1))[None]))
    for step in (decoder.stem, *decoder.up, *decoder.refine, decoder.last):
        x = step(x)
    if task.name == "pose":
        return reference(x.numpy())[0]
    x = F.interpolate(F.interpolate(x, SIZE, mode="bilinear"), image.shape[:2], mode="bilinear")[0]
    if task.name == "seg":
        return x.argmax(0).numpy()
    if task.name == "depth":
        return x[0].numpy()
    vectors = x.numpy().transpose(1, 2, 0)
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-5)


def replace_norms(module: nn.Module) -> None:
    """The official layers in the place of ours."""
    for name, child in module.named_children():
        if isinstance(child, NormSiLU):
            setattr(module, name, Official())
        else:
            replace_norms(child)


def way_of(way: str, model: DenseModel) -> Callable[[np.ndarray], np.ndarray]:
    """Photo -> answer."""
    if way == "official":
        replace_norms(model)
        return lambda image: official(model, image)
    precision = "fp32" if way == "float32" else "bf16"
    predictor = Predictor(model, precision=precision, compiled=way == "compiled")
    if predictor.dtype is not None:
        model.lower(predictor.dtype)  # as `Predictor.load` does
    return lambda image: predictor(image)[model.tasks[0].name]


def main() -> None:
    """Seconds of two photos, those of the second also of processors, and the peak of the process."""
    task, way = sys.argv[1:3]
    answer = way_of(way, model_of(task))
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8), HW[::-1])
    found, seconds, processor = np.empty(0), [], 0.0
    for _ in range(2):
        began, spent = time.perf_counter(), time.process_time()
        found = answer(image)
        seconds.append(time.perf_counter() - began)
        processor = time.process_time() - spent
    if len(sys.argv) > 3:
        np.save(sys.argv[3], found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = {"first": seconds[0], "seconds": seconds[1], "processor": processor, "peak_gib": peak}
    print(json.dumps({"task": task, "way": way, **told}))


if __name__ == "__main__":
    main()
