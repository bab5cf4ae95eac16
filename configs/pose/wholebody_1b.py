"""133 points of COCO-WholeBody at 1024 x 768 with the official head: 1b, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.pose133 import *

backbone.update(size="1b", recompute=True)
init = "checkpoints/mae_1b.safetensors"
