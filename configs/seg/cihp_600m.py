"""The 20 classes of CIHP at 1024 x 768: 600m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.cihp import *

backbone.update(size="600m", recompute=False)
init = "checkpoints/mae_600m.safetensors"
