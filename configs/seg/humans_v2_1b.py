"""29 parts at 1024 x 768 as Sapiens2: v2_1b, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune_v2 import *

from shared.dense.decoder import Spec
from tasks.seg.task import Seg

backbone.update(size="v2_1b", recompute=True)
tasks = [dict(type=Seg, labels="sapiens29", dice=1.0)]
decoder = dict(type=Spec, up=(512, 256, 128, 64), refine=(64, 64))
init = "checkpoints/sapiens2_1b_pretrain.safetensors"
train.update(shards="data/humans/seg-{000000..000511}.tar")
val.update(shards="data/humans/seg-val")
layer_decay = 0.9
iters = 20_000
batch = 8
