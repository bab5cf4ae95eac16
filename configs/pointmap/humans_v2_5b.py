"""Points in metres at 1024 x 768 as Sapiens2: v2_5b, 8 GPUs of 140 GB (81 GB are weights, gradients and Adam's moments)."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune_v2 import *

from shared.dense.decoder import Spec
from tasks.pointmap.task import Pointmap

backbone.update(size="v2_5b", recompute=True)
tasks = [dict(type=Pointmap)]
decoder = dict(
    type=Spec,
    up=(1536, 768, 768, 768),
    refine=(128, 64, 32),
    shuffle=True,
    scale=dict(convs=(1536, 512, 128), hidden=(512, 128), grid=(8, 6)),
)
init = "checkpoints/sapiens2_5b_pretrain.safetensors"
train.update(shards="data/humans/pointmap-{000000..000511}.tar")
val.update(shards="data/humans/pointmap-val")
lr = 1e-4
layer_decay = 0.94
precision = "fp32"
iters = 40_000
batch = 1
