"""59 kinds of clothes on real street photos (Clothing Co-Parsing, 90 for training): tiny, 256 x 192."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune import *

from shared.dense.decoder import Spec
from tasks.seg.task import Seg

backbone.update(size="tiny", image_hw=(256, 192))
decoder = dict(type=Spec, up=(96, 64), refine=(64,))
tasks = [dict(type=Seg, labels="ccp59")]
init = "runs/pretrain/ccp_tiny/model.safetensors"
train.update(shards="data/ccp/train")
val.update(shards="data/ccp/val")
batch = 8
workers = 1
layer_decay = 0.9
lr = 1e-3
warmup = 50
iters = 1000
val_every = 250
