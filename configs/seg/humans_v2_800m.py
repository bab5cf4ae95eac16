"""29 parts at 1024 x 768 as Sapiens2: v2_800m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.seg_v2 import *

backbone.update(size="v2_800m", recompute=True)
init = "checkpoints/sapiens2_0.8b_pretrain.safetensors"
layer_decay = 0.85
iters = 30_000
batch = 5
