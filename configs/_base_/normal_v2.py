"""Normals as Sapiens2 trains them (its specification, section 2.3): slopes beside L1 and cosine. Views are never turned; officially
each change happens to three pictures of ten, here the factor is always drawn."""

from mmengine.config import read_base

with read_base():
    from .finetune_v2 import *

from shared.dense.decoder import Spec
from tasks.normal.task import Normal

tasks = [dict(type=Normal, cosine=10.0, slope=10.0)]
decoder = dict(type=Spec, up=(768, 512, 256, 128), refine=(64, 32, 16), shuffle=True)
train.update(shards="data/humans/normal-{000000..000511}.tar")
val.update(shards="data/humans/normal-val")
jitter.update(scale=(0.5, 2.0), even=True, shift=0.25, degrees=0.0, flip=0.3)
photometric.update(shuffle=0.5, noise=4.5, blur=2.0, probability=0.3)
