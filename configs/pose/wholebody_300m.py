"""133 points of COCO-WholeBody at 1024 x 768 with the official head: 300m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.pose133 import *

backbone.update(size="300m", recompute=False)
init = "checkpoints/mae_300m.safetensors"
layer_decay = 0.75
