"""29 parts at 1024 x 768 as Sapiens2: v2_400m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.seg_v2 import *

backbone.update(size="v2_400m", recompute=False)
init = "checkpoints/sapiens2_0.4b_pretrain.safetensors"
layer_decay = 0.8
clip = 2.0
iters = 20_000
batch = 12
