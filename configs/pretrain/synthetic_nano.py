"""MAE on synthetic people: nano, 128 x 96; the first training of `make demo`."""

from mmengine.config import read_base

with read_base():
    from .._base_.pretrain import *

model.update(dim=64, depth=2, heads=4)
backbone.update(size="nano", image_hw=(128, 96), patch=8)
train.update(shards="data/synthetic/train")
framing = "boxes"
jitter.update(scale=(0.75, 1.5), shift=0.1)
batch = 16  # small steps learn more from the same number of pictures: docs/log.md
workers = 0
optimizer = "muon"
lr = 3e-3
warmup = 50
iters = 800
val_every = 400
log_every = 100
