"""308 points of synthetic people: tiny, 512 x 384."""

from mmengine.config import read_base

with read_base():
    from .._base_.synthetic_tiny import *
    from .._base_.person_views import *

from tasks.pose.task import Pose

tasks = [dict(type=Pose, skeleton="sapiens308")]
