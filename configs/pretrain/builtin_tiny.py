"""MAE of the built-in model: tiny, 192 x 144 in patches of 12, on synthetic people and photos; commands in its card."""

from mmengine.config import read_base

with read_base():
    from .._base_.pretrain import *

from shared.data.backdrops import Backdrops

model.update(dim=96, depth=2, heads=3)
backbone.update(size="tiny", image_hw=(192, 144), patch=12)
train.update(shards=["data/builtin/people_10", "data/builtin/people_20", *["data/builtin/photos_packed"] * 5])
framing = "boxes"
jitter.update(scale=(0.6, 1.3), degrees=10.0, shift=0.08)
backdrops = dict(type=Backdrops, photos="data/builtin/photos", borders=0.24, share=0.6)
batch = 16  # small steps and Muon, as in the nano configs: docs/log.md
workers = 0
optimizer = "muon"
lr = 2e-3
warmup = 50
iters = 800
val_every = 400
log_every = 50
