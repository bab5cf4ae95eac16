"""For a laptop with a GPU, or a night without: tiny at 512 x 384, people in their boxes, 640 x 480 synthetic pictures."""

from mmengine.config import read_base

with read_base():
    from .finetune import *

from shared.dense.decoder import Spec

backbone.update(size="tiny", image_hw=(512, 384))
decoder = dict(type=Spec, up=(128, 96), refine=(64,))
train.update(shards="data/synthetic_640/train")
val.update(shards="data/synthetic_640/val")
framing = "boxes"
batch = 16
lr = 1e-3
layer_decay = 0.9
iters = 10_000
