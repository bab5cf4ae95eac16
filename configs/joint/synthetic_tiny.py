"""All four tasks on synthetic people: tiny, 512 x 384, for a laptop with a GPU or a night without."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune import *

from shared.dense.decoder import Spec
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

backbone.update(size="tiny", image_hw=(512, 384))
decoder = dict(type=Spec, up=(128, 96), refine=(64,))
tasks = [dict(type=Seg), dict(type=Depth), dict(type=Normal), dict(type=Pose)]
weights = dict(pose=100.0)
train.update(shards="data/synthetic_640/train")
val.update(shards="data/synthetic_640/val")
batch = 16
lr = 1e-3
layer_decay = 0.9
iters = 10_000
