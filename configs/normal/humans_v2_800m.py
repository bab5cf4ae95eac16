"""Normals at 1024 x 768 as Sapiens2: v2_800m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune_v2 import *

from shared.dense.decoder import Spec
from tasks.normal.task import Normal

backbone.update(size="v2_800m", recompute=True)
tasks = [dict(type=Normal, cosine=10.0, slope=10.0)]
decoder = dict(type=Spec, up=(768, 512, 256, 128), refine=(64, 32, 16), shuffle=True)
init = "checkpoints/sapiens2_0.8b_pretrain.safetensors"
train.update(shards="data/humans/normal-{000000..000511}.tar")
val.update(shards="data/humans/normal-val")
layer_decay = 0.85
iters = 10_000
batch = 12
