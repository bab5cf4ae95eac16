"""Relative depth (specification, section 5). Officially half of the people stand before other places.

backdrops={'type': 'shared.data.backdrops.Backdrops', 'photos': 'places', 'share': 0.5}
"""

from mmengine.config import read_base

with read_base():
    from .dense import *

from tasks.depth.task import Depth

tasks = [dict(type=Depth)]
train.update(shards="data/humans/depth-{000000..000511}.tar")
val.update(shards="data/humans/depth-val")
jitter.update(degrees=60.0)
