"""The 20 classes of LIP at 1024 x 768: 1b, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.lip import *

backbone.update(size="1b", recompute=True)
init = "checkpoints/mae_1b.safetensors"
