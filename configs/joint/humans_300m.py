"""All four tasks on one backbone at 1024 x 768 with the official heads: 300m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune import *

from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

backbone.update(size="300m")
tasks = [dict(type=Seg), dict(type=Depth), dict(type=Normal), dict(type=Pose)]
weights = dict(pose=100.0)  # heatmaps are nearly empty: their squared error is a hundred times smaller
init = "checkpoints/mae_300m.safetensors"
train.update(shards="data/humans/joint-{000000..000511}.tar")
val.update(shards="data/humans/joint-val")
batch = 2
