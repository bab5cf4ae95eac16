"""Fine-tuning as Sapiens2 does it: as Sapiens, but to zero in a straight line (arXiv 2604.21681; numbers from its configs)."""

from mmengine.config import read_base

with read_base():
    from .finetune import *

schedule = "linear"
clip = 4.0
