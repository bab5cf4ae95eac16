"""Points of synthetic people in metres: tiny, 512 x 384."""

from mmengine.config import read_base

with read_base():
    from .._base_.synthetic_tiny import *

from tasks.pointmap.task import Pointmap

tasks = [dict(type=Pointmap)]
decoder.update(scale=dict(convs=(128, 64, 32), hidden=(64, 32), grid=(4, 3)))
