"""Points of synthetic people in metres: nano, 128 x 96, minutes on two cores."""

from mmengine.config import read_base

with read_base():
    from .._base_.synthetic_nano import *

from tasks.pointmap.task import Pointmap

tasks = [dict(type=Pointmap, normal=0.2)]  # with 2, the official weight, so short a run learns no distances
decoder.update(scale=dict(convs=(64, 32, 16), hidden=(32,), grid=(2, 2)))
