"""Points in metres at 1024 x 768 as Sapiens2: v2_400m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune_v2 import *

from tasks.pointmap.task import Pointmap

backbone.update(size="v2_400m", recompute=False)
tasks = [dict(type=Pointmap)]
init = "checkpoints/sapiens2_0.4b_pretrain.safetensors"
train.update(shards="data/humans/pointmap-{000000..000511}.tar")
val.update(shards="data/humans/pointmap-val")
layer_decay = 0.8
clip = 2.0
precision = "fp32"
iters = 20_000
batch = 8
