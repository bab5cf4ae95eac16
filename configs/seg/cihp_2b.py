"""The 20 classes of CIHP at 1024 x 768: 2b, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.cihp import *

backbone.update(size="2b", recompute=True)
init = "checkpoints/mae_2b.safetensors"
