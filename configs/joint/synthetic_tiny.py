"""All four tasks on synthetic people: tiny, 512 x 384."""

from mmengine.config import read_base

with read_base():
    from .._base_.synthetic_tiny import *

from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

tasks = [dict(type=Seg), dict(type=Depth), dict(type=Normal), dict(type=Pose)]
weights = dict(depth=2.0, normal=2.0, pose=200.0)
