"""MAE on 320 real street photos (Clothing Co-Parsing): nano, 192 x 144."""

from mmengine.config import read_base

with read_base():
    from .._base_.pretrain import *

model.update(dim=64, depth=2, heads=4)
backbone.update(size="nano", image_hw=(192, 144), patch=12)
train.update(shards="data/ccp/photos")
batch = 16
workers = 1
optimizer = "muon"
lr = 3e-3
warmup = 50
iters = 1500
val_every = 500
