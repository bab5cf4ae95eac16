"""Sapiens2's pretraining on synthetic people: v2_nano, 128 x 96, four minutes on one core; its teacher is surer: docs/log.md."""

from mmengine.config import read_base

with read_base():
    from .._base_.pretrain_v2 import *

model.update(dim=64, depth=2, heads=4)
model["distil"].update(prototypes=256, hidden=256, bottleneck=64, momentum=(0.9, 0.99), centring=0.5, sharper=(0.04, 0.04))
backbone.update(size="v2_nano", image_hw=(128, 96), patch=8)
train.update(shards="data/synthetic/train")
framing = "boxes"
crops.update(local_hw=(64, 48))
batch = 8
workers = 0
optimizer = "muon"
lr = 3e-3
warmup = 30
iters = 300
val_every = 150
log_every = 25
