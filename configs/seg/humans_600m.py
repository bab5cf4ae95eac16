"""Parts at 1024 x 768 with the official head: 600m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune import *

from tasks.seg.task import Seg

backbone.update(size="600m", recompute=False)
tasks = [dict(type=Seg)]
init = "checkpoints/mae_600m.safetensors"
train.update(shards="data/humans/seg-{000000..000511}.tar")
val.update(shards="data/humans/seg-val")
batch = 2
