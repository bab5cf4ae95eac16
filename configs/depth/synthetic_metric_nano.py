"""Depth of synthetic people in metres: nano, 128 x 96, minutes on two cores."""

from mmengine.config import read_base

with read_base():
    from .._base_.synthetic_nano import *

from tasks.depth.task import Depth

tasks = [dict(type=Depth, metric=True)]
