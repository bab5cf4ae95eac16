"""308 points at 1024 x 768 with the official head: 300m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.pose308 import *

backbone.update(size="300m", recompute=False)
init = "checkpoints/mae_300m.safetensors"
tasks[0].update(hardest=128)
