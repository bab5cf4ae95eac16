"""243 face points: our choice of points, with the numbers of Sapiens' configs for 308; a face has no halves."""

from mmengine.config import read_base

with read_base():
    from .finetune import *
    from .person_views import *

from tasks.pose.task import Pose

tasks = [dict(type=Pose, skeleton="face243")]
train.update(shards="data/humans/face-{000000..000511}.tar")
val.update(shards="data/humans/face-val")
half_body = None
schedule = "steps"
lr = 5e-5
iters = 61_500
batch, accumulate = 16, 4
