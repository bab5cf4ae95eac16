"""308 points of synthetic people: nano, 128 x 96, minutes on two cores."""

from mmengine.config import read_base

with read_base():
    from .._base_.synthetic_nano import *

from tasks.pose.task import Pose

tasks = [dict(type=Pose, skeleton="sapiens308", sigma=0.03)]
