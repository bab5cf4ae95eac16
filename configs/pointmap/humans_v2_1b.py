"""Points in metres at 1024 x 768 as Sapiens2: v2_1b, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune_v2 import *

from tasks.pointmap.task import Pointmap

backbone.update(size="v2_1b", recompute=True)
tasks = [dict(type=Pointmap)]
init = "checkpoints/sapiens2_1b_pretrain.safetensors"
train.update(shards="data/humans/pointmap-{000000..000511}.tar")
val.update(shards="data/humans/pointmap-val")
layer_decay = 0.9
precision = "fp32"
iters = 40_000
batch = 3
