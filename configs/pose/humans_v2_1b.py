"""308 keypoints at 1024 x 768 as Sapiens2: v2_1b, 8 GPUs."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune_v2 import *
    from .._base_.person_views import *

from shared.dense.decoder import Spec
from tasks.pose.task import Pose

backbone.update(size="v2_1b", recompute=True)
tasks = [dict(type=Pose, skeleton="sapiens308")]
decoder = dict(type=Spec, up=(1536, 1024), refine=(768, 512, 256))
init = "checkpoints/sapiens2_1b_pretrain.safetensors"
train.update(shards="data/humans/pose-{000000..000511}.tar")
val.update(shards="data/humans/pose-val")
photometric.update(shuffle=0.0)
layer_decay = 0.9
iters = 20_000
batch = 7
