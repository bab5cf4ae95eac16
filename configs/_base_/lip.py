"""LIP's 20 classes as Sapiens' configs train them: 400 epochs of 30,462 pictures, 2 per GPU, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .seg import *

tasks = [dict(type=Seg, labels="lip20")]
train.update(shards="data/lip/train")
val.update(shards="data/lip/val")
jitter.update(scale=(0.75, 1.25))
schedule = "cosine"
iters = 761_550
val_every = 20_000
