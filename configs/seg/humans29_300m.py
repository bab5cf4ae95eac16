"""Sapiens2's 29 parts at 1024 x 768 with the official head: 300m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.seg29 import *

backbone.update(size="300m", recompute=False)
init = "checkpoints/mae_300m.safetensors"
