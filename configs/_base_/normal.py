"""Normals (specification, section 6), officially never turned; half of the people stand before other places.

backdrops={'type': 'shared.data.backdrops.Backdrops', 'photos': 'places', 'share': 0.5}
"""

from mmengine.config import read_base

with read_base():
    from .dense import *

from tasks.normal.task import Normal

tasks = [dict(type=Normal)]
train.update(shards="data/humans/normal-{000000..000511}.tar")
val.update(shards="data/humans/normal-val")
jitter.update(degrees=0.0)
