"""29 parts at 1024 x 768 as Sapiens2: v2_5b, 8 GPUs of 140 GB (81 GB are weights, gradients and Adam's moments)."""

from mmengine.config import read_base

with read_base():
    from .._base_.seg_v2 import *

backbone.update(size="v2_5b", recompute=True)
init = "checkpoints/sapiens2_5b_pretrain.safetensors"
layer_decay = 0.94
iters = 50_000
batch = 2
