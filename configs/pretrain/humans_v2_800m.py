"""MAE and self-distillation at 1024 x 768 as Sapiens2: v2_800m."""

from mmengine.config import read_base

with read_base():
    from .._base_.pretrain_v2 import *

backbone.update(size="v2_800m", recompute=True)
batch = 16
