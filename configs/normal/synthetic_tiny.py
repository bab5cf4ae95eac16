"""Normals on synthetic people: tiny, 512 x 384, for a laptop with a GPU or a night without."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune import *

from shared.dense.decoder import Spec
from tasks.normal.task import Normal

backbone.update(size="tiny", image_hw=(512, 384))
decoder = dict(type=Spec, up=(128, 96), refine=(64,))
tasks = [dict(type=Normal)]
train.update(shards="data/synthetic_640/train")
val.update(shards="data/synthetic_640/val")
batch = 16
lr = 1e-3
layer_decay = 0.9
iters = 10_000
