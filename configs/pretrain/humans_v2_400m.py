"""MAE and self-distillation at 1024 x 768 as Sapiens2: v2_400m."""

from mmengine.config import read_base

with read_base():
    from .._base_.pretrain_v2 import *

backbone.update(size="v2_400m", recompute=False)
batch = 32
