"""243 face keypoints at 1024 x 768: 1b, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune import *

from tasks.pose.task import Pose

backbone.update(size="1b", recompute=True)
tasks = [dict(type=Pose, skeleton="face243", hardest=128)]
init = "checkpoints/mae_1b.safetensors"
train.update(shards="data/humans/face-{000000..000511}.tar")
val.update(shards="data/humans/face-val")
batch = 16
lr = 5e-5
layer_decay = 0.95
