"""All four tasks on synthetic people: nano, 128 x 96, minutes on two cores; the second training of `make demo`."""

from mmengine.config import read_base

with read_base():
    from .._base_.synthetic_nano import *

from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

tasks = [dict(type=Seg, undo=0.5), dict(type=Depth, floor=0.1), dict(type=Normal), dict(type=Pose, sigma=0.03)]
weights = dict(depth=2.0, normal=2.0, pose=200.0)
