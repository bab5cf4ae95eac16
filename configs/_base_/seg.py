"""Sapiens' 28 parts (specification, section 4). Officially four fifths of the people stand before other places.

backdrops={'type': 'shared.data.backdrops.Backdrops', 'photos': 'places', 'share': 0.8}
"""

from mmengine.config import read_base

with read_base():
    from .dense import *

from tasks.seg.task import Seg

tasks = [dict(type=Seg)]
train.update(shards="data/humans/seg-{000000..000511}.tar")
val.update(shards="data/humans/seg-val")
jitter.update(degrees=45.0, largest=0.75)
