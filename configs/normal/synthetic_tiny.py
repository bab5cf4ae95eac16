"""Normals of synthetic people: tiny, 512 x 384."""

from mmengine.config import read_base

with read_base():
    from .._base_.synthetic_tiny import *

from tasks.normal.task import Normal

tasks = [dict(type=Normal)]
