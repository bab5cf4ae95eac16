"""CIHP's 20 classes as Sapiens' configs train them: 400 epochs of 28,280 pictures, 2 per GPU, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .lip import *

tasks = [dict(type=Seg, labels="cihp20")]
train.update(shards="data/cihp/train")
val.update(shards="data/cihp/val")
schedule = "linear"
iters = 707_000
