"""29 parts at 1024 x 768 as Sapiens2: v2_1b, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.seg_v2 import *

backbone.update(size="v2_1b", recompute=True)
init = "checkpoints/sapiens2_1b_pretrain.safetensors"
layer_decay = 0.9
iters = 20_000
batch = 8
