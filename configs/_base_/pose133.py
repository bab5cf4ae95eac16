"""133 points as Sapiens' configs train them: 210 epochs of COCO-WholeBody, 64 people per GPU, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .finetune import *
    from .person_views import *

from tasks.pose.task import Pose

tasks = [dict(type=Pose, skeleton="wholebody133")]
train.update(shards="data/wholebody/train")
val.update(shards="data/wholebody/val")
schedule = "steps"
iters = 61_500
batch, accumulate = 16, 4
