"""MAE on synthetic people: tiny, 512 x 384."""

from mmengine.config import read_base

with read_base():
    from .._base_.pretrain import *

model.update(dim=128, depth=2, heads=4)
backbone.update(size="tiny", image_hw=(512, 384))
train.update(shards="data/synthetic_640/train")
framing = "boxes"
jitter.update(scale=(0.75, 1.5), shift=0.1)
batch = 64
lr = 1e-3
warmup = 500
iters = 20_000
