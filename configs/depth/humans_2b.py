"""Depth at 1024 x 768 with the official head: 2b, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.depth import *

backbone.update(size="2b", recompute=True)
init = "checkpoints/mae_2b.safetensors"
