"""The 20 classes of LIP at 1024 x 768: 300m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.lip import *

backbone.update(size="300m", recompute=False)
init = "checkpoints/mae_300m.safetensors"
