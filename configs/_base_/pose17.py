"""17 points as Sapiens' configs train them: 210 epochs of COCO, 64 people per GPU, 8 GPUs; 150,000 people are 293 iterations."""

from mmengine.config import read_base

with read_base():
    from .finetune import *
    from .person_views import *

from tasks.pose.task import Pose

tasks = [dict(type=Pose)]
train.update(shards="data/coco/train")
val.update(shards="data/coco/val")
jitter.update(fewest=3)
schedule = "steps"
iters = 61_500
batch, accumulate = 16, 4
