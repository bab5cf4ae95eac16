"""308 points as Sapiens' configs train them: 64 people per GPU, 8 GPUs; a tenth of the others' learning rate."""

from mmengine.config import read_base

with read_base():
    from .finetune import *
    from .person_views import *

from tasks.pose.task import Pose

tasks = [dict(type=Pose, skeleton="sapiens308")]
train.update(shards="data/humans/pose-{000000..000511}.tar")
val.update(shards="data/humans/pose-val")
schedule = "steps"
lr = 5e-5
iters = 61_500
batch, accumulate = 16, 4
