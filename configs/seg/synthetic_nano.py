"""Parts of synthetic people: nano, 128 x 96, minutes on two cores."""

from mmengine.config import read_base

with read_base():
    from .._base_.synthetic_nano import *

from tasks.seg.task import Seg

tasks = [dict(type=Seg, undo=0.5)]
