"""One task of a Sapiens2 on one 4K photo: our way, and that of transformers' classes with their processor before and after.

    python tests/bench/transformers_way.py TASK make FOLDER [DEPTH]
    python tests/bench/transformers_way.py TASK {ours,theirs} FOLDER [{float32,bf16}]

`make` writes random weights into a folder, from which both ways load them; the others print JSON. Their bf16 is the one that
`from_pretrained(dtype=torch.bfloat16)` gives, ours `--precision bf16`. Pose is asked about one person, who fills the photo.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from shared.dense.decoder import HEATMAP_V2, NORMAL_V2, POINTMAP, SEG_V2, Spec
from shared.vit.sizes import SIZES

HEADS: Mapping[str, tuple[str, Spec, int]] = {  # task: transformers' class, the official head, its channels
    "seg": ("SemanticSegmentation", SEG_V2, 29),
    "normal": ("NormalEstimation", NORMAL_V2, 3),
    "pose": ("PoseEstimation", HEATMAP_V2, 308),
    "pointmap": ("PointmapEstimation", POINTMAP, 3),
}
SIZE = "v2_100m"
PRECISIONS = {"float32": "fp32", "bf16": "bf16"}
HW = (4096, 3072)
PERSON = [0, 0, HW[1], HW[0]]


def make(task: str, folder: Path, depth: int) -> None:
    """Write a model of transformers with random weights; layers that their first weights would make silent speak, too."""
    import transformers  # slow to import, and not in our way

    kind, spec, channels = HEADS[task]
    kernel, scale = (3 if spec.shuffle else 4), spec.scale or {}
    head = {
        "upsample_out_channels": list(spec.up),
        "upsample_kernel_size": kernel,
        "use_pixel_shuffle": spec.shuffle,
        "conv_out_channels": list(spec.refine),
        "conv_kernel_size": 3 if spec.shuffle else 1,
        "scale_conv_out_channels": list(scale["convs"]) if scale else None,
        "scale_final_hidden_sizes": list(scale["hidden"]) if scale else None,
    }
    row = SIZES[SIZE]
    config = transformers.Sapiens2Config(
        hidden_size=row.dim,
        intermediate_size=4 * row.dim,
        num_hidden_layers=depth,
        num_attention_heads=row.heads,
        num_key_value_attention_heads=row.heads,
        image_size=(1024, 768),
        head_config=head,
    )
    config.num_labels = channels
    torch.manual_seed(0)
    model = getattr(transformers, f"Sapiens2For{kind}")(config)
    torch.nn.init.normal_(model.decode_head.predictor.weight, std=0.1)
    model.save_pretrained(folder)


def ours(task: str, folder: Path, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """Photo -> answer, as `tasks/*/infer.py` finds it."""
    from shared.infer.predictor import Predictor

    predictor = Predictor.load(folder / "model.safetensors", device="cpu", precision=PRECISIONS[precision])
    boxes = np.array([PERSON], np.float32) if task == "pose" else None
    return lambda image: predictor(image, boxes=boxes)[task]


def theirs(task: str, folder: Path, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """Photo -> answer, as the documentation of transformers has it."""
    import transformers

    dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[precision]
    model = getattr(transformers, f"Sapiens2For{HEADS[task][0]}").from_pretrained(folder, dtype=dtype).eval()
    processor = transformers.Sapiens2ImageProcessor(do_pad=task in ("normal", "pointmap"))

    @torch.inference_mode()
    def answer(image: np.ndarray) -> np.ndarray:
        boxes: dict[str, Any] = {"boxes": [[PERSON]]} if task == "pose" else {}
        inputs = processor(images=image, return_tensors="pt", **boxes)
        outputs = model(inputs["pixel_values"].to(dtype))
        if task == "pose":
            return processor.post_process_pose_estimation(outputs, **boxes)[0][0]["keypoints"].float().numpy()
        if task == "seg":
            return processor.post_process_semantic_segmentation(outputs, target_sizes=[HW])[0].numpy()
        if task == "normal":
            return processor.post_process_normal_estimation(outputs, source_sizes=[HW])[0]["normals"].float().numpy()
        return processor.post_process_pointmap_estimation(outputs, source_sizes=[HW])[0]["pointmap"].float().numpy()

    return answer


def main() -> None:
    """Seconds and processor seconds of a photo after the first, and the peak of the process."""
    task, way, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if way == "make":
        make(task, folder, int(sys.argv[4]) if len(sys.argv) > 4 else SIZES[SIZE].depth)
        return
    precision = sys.argv[4] if len(sys.argv) > 4 else "float32"
    answer = {"ours": ours, "theirs": theirs}[way](task, folder, precision)
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8), HW[::-1])
    told: dict[str, Any] = {"task": task, "way": way, "precision": precision}
    for photo in ("first_", ""):
        began, spent = time.perf_counter(), time.process_time()
        answer(image)
        told[photo + "seconds"], told[photo + "processor"] = time.perf_counter() - began, time.process_time() - spent
    told["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(told))


if __name__ == "__main__":
    main()
