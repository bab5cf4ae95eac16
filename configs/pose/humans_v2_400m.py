"""308 keypoints at 1024 x 768 as Sapiens2: v2_400m, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune_v2 import *
    from .._base_.person_views import *

from shared.dense.decoder import Spec
from tasks.pose.task import Pose

backbone.update(size="v2_400m", recompute=False)
tasks = [dict(type=Pose, skeleton="sapiens308")]
decoder = dict(type=Spec, up=(1024, 768), refine=(512, 512, 256))
init = "checkpoints/sapiens2_0.4b_pretrain.safetensors"
train.update(shards="data/humans/pose-{000000..000511}.tar")
val.update(shards="data/humans/pose-val")
photometric.update(shuffle=0.0)
layer_decay = 0.8
clip = 2.0
iters = 10_000
batch = 6
