"""59 kinds of clothes on real street photos (Clothing Co-Parsing, 90 for training): nano, 192 x 144."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune import *

from shared.dense.decoder import Spec
from tasks.seg.task import Seg

backbone.update(size="nano", image_hw=(192, 144), patch=12)
decoder = dict(type=Spec, up=(64, 48), refine=())
tasks = [dict(type=Seg, labels="ccp59")]
init = "runs/pretrain/ccp_nano/model.safetensors"
train.update(shards="data/ccp/train")
val.update(shards="data/ccp/val")
jitter.update(degrees=10.0)
batch = 4
workers = 1
optimizer = "muon"
lr = 4e-3
layer_decay = 1.0
warmup = 50
iters = 500
val_every = 250
