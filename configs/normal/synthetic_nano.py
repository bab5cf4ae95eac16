"""Normals on synthetic people: nano, 192 x 144, minutes on two cores."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune import *

from shared.dense.decoder import Spec
from tasks.normal.task import Normal

backbone.update(size="nano", image_hw=(192, 144))
decoder = dict(type=Spec, up=(64, 48), refine=(48,))
tasks = [dict(type=Normal)]
train.update(shards="data/synthetic/train")
val.update(shards="data/synthetic/val")
batch = 16
workers = 0
lr = 1.5e-3
layer_decay = 0.9
warmup = 50
iters = 400
val_every = 200
