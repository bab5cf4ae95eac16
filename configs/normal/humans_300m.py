"""Normals at 1024 x 768 with the official head: 300m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune import *

from tasks.normal.task import Normal

backbone.update(size="300m", recompute=False)
tasks = [dict(type=Normal)]
init = "checkpoints/mae_300m.safetensors"
train.update(shards="data/humans/normal-{000000..000511}.tar")
val.update(shards="data/humans/normal-val")
batch = 2
