"""A 300m student of 1b teachers: people with labels, and three times as many that teachers labelled; docs/training.md."""

from mmengine.config import read_base

with read_base():
    from .humans_300m import *

from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

tasks = [dict(type=Seg, trust=True), dict(type=Depth), dict(type=Normal), dict(type=Pose)]
train.update(
    shards=[
        dict(shards="data/humans/joint-{000000..000511}.tar", weight=1),
        dict(shards="data/humans/taught", weight=3),
    ]
)
