"""MAE at 1024 x 1024: 600m; Sapiens' recipe for 4096 pictures per iteration on 64 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.pretrain import *

backbone.update(size="600m", recompute=False)
train.update(shards="data/humans/photos-{000000..009999}.tar")
batch = 64
workers = 12
lr = 2.4e-3  # 1.5e-4 * 4096 / 256
warmup = 4000
iters = 160_000
