"""Small enough for two cores: nano at 128 x 96 in patches of 8, people in their boxes, 160 x 120 synthetic pictures."""

from mmengine.config import read_base

with read_base():
    from .finetune import *

from shared.dense.decoder import Spec

backbone.update(size="nano", image_hw=(128, 96), patch=8)
decoder = dict(type=Spec, up=(48, 32), refine=())
train.update(shards="data/synthetic/train")
val.update(shards="data/synthetic/val")
framing = "boxes"
jitter.update(scale=(0.85, 1.2), degrees=10.0, shift=0.05)
photometric = None  # the pictures are varied enough for so short a training
batch = 8
workers = 0
optimizer = "muon"  # learns twice as much from each picture: docs/log.md
lr = 4e-3
layer_decay = 1.0
warmup = 40
iters = 800
val_every = 400
log_every = 100
