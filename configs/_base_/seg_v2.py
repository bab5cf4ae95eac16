"""Parts as Sapiens2 trains them (its specification, section 2.2): 29, Dice beside cross-entropy, a narrow head."""

from mmengine.config import read_base

with read_base():
    from .finetune_v2 import *

from shared.dense.decoder import Spec
from tasks.seg.task import Seg

tasks = [dict(type=Seg, labels="sapiens29", dice=1.0)]
decoder = dict(type=Spec, up=(512, 256, 128, 64), refine=(64, 64))
train.update(shards="data/humans/seg-{000000..000511}.tar")
val.update(shards="data/humans/seg-val")
jitter.update(scale=(0.4, 2.0), even=True, shift=0.25, degrees=60.0, turned=0.5, largest=0.75)
photometric.update(shuffle=0.5, noise=4.5, blur=2.0, jpeg=100)  # variances of 5 to 20, deviations of 0.1 to 2 officially
