"""Normals at 1024 x 768 as Sapiens2: v2_5b, 8 GPUs of 140 GB (81 GB are weights, gradients and Adam's moments)."""

from mmengine.config import read_base

with read_base():
    from .._base_.normal_v2 import *

from shared.dense.decoder import Spec

backbone.update(size="v2_5b", recompute=True)
decoder = dict(type=Spec, up=(1536, 768, 512, 256), refine=(128, 64, 32), shuffle=True)
init = "checkpoints/sapiens2_5b_pretrain.safetensors"
lr = 1e-4
layer_decay = 0.94
iters = 40_000
batch = 3
