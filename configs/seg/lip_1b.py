"""The 20 classes of LIP at 1024 x 768: 1b, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune import *

from tasks.seg.task import Seg

backbone.update(size="1b", recompute=True)
tasks = [dict(type=Seg, labels="lip20")]
init = "checkpoints/mae_1b.safetensors"
train.update(shards="data/lip/train")
val.update(shards="data/lip/val")
jitter.update(scale=(0.75, 1.25))
batch = 2
