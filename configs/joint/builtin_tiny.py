"""The built-in model: 29 parts, depth, normals and 308 points on tiny at 192 x 144; its card has the commands and the scores."""

from mmengine.config import read_base

with read_base():
    from .._base_.finetune import *

from shared.data.backdrops import Backdrops
from shared.data.half import HalfBody
from shared.data.occlusion import Occlusion
from shared.dense.decoder import Spec
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

tasks = [
    dict(type=Seg, labels="sapiens29", undo=1.0),
    dict(type=Depth, floor=0.1),
    dict(type=Normal),
    dict(type=Pose, skeleton="sapiens308", sigma=0.03, threshold=0.12),
]
weights = dict(depth=2.0, normal=2.0, pose=400.0)
backbone.update(size="tiny", image_hw=(192, 144), patch=12)
decoder = dict(type=Spec, up=(64, 48), refine=())
train.update(shards=["data/builtin/people_10", "data/builtin/people_20", "data/builtin/people_30"])
val.update(shards="data/builtin/people_21")
framing = "boxes"
half_body = dict(type=HalfBody, probability=0.2)
jitter.update(scale=(0.55, 1.25), degrees=20.0, shift=0.08)
occlusion = dict(type=Occlusion, probability=0.35, extent=(0.1, 0.35), fills=("patch", "colour"), shapes=("blob", "box"))
backdrops = dict(type=Backdrops, photos="data/builtin/photos", borders=0.24, share=0.6)
batch, workers = 12, 0
optimizer = "muon"
lr = 2.5e-3
precision = "bf16"
layer_decay = 0.9
warmup, iters = 100, 3200
val_every = 800
log_every = 100
