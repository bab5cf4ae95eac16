"""MAE on synthetic people: nano, 192 x 144; the first step of `make demo`."""

from mmengine.config import read_base

with read_base():
    from .._base_.pretrain import *

model.update(dim=64, depth=2, heads=4)
backbone.update(size="nano", image_hw=(192, 144))
train.update(shards="data/synthetic/train")
jitter.update(scale=(0.75, 1.5), shift=0.1)
batch = 64
workers = 0
lr = 2e-3
warmup = 50
iters = 600
val_every = 200
log_every = 50
