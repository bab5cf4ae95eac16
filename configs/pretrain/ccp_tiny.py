"""MAE on 320 real street photos (Clothing Co-Parsing): tiny, 256 x 192."""

from mmengine.config import read_base

with read_base():
    from .._base_.pretrain import *

model.update(dim=128, depth=2, heads=4)
backbone.update(size="tiny", image_hw=(256, 192))
train.update(shards="data/ccp/photos")
batch = 32
workers = 1
lr = 1e-3
warmup = 50
iters = 1000
val_every = 250
