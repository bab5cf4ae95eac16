"""Fine-tuning as Sapiens does it: AdamW, layer decay, 1024 x 768 (ECCV 2024; numbers from the official configs)."""

from mmengine.config import read_base

with read_base():
    from .run import *

from shared.data.photometric import Photometric
from shared.data.view import Jitter
from shared.dense.model import DenseModel
from shared.vit.model import ViT

model = dict(type=DenseModel)
backbone = dict(type=ViT, size="300m", image_hw=(1024, 768))
tasks = []
decoder = None  # widths for all decoders, dict(type=Spec, up=..., refine=...); None: each task's official ones
init_decoders = True  # those of init's file, too, where it answers the same: docs/training.md
weights = dict()  # task -> factor of its losses
balance = None  # how tasks share the backbone: a name or dict(type=...), docs/training.md; None: by `weights` alone
teacher = None  # dict(checkpoint=..., weight=1.0, features=0.0, enlarge=1.0): its soft answers are learnt, too; docs/training.md
compare = False  # log norms and cosines of the tasks' gradients

train = dict(shards="data/humans/train", groups=None)  # groups that take turns, each at its own size: docs/training.md
val = dict(shards="data/humans/val", limit=None)
derive = None  # ["normal"]: samples that hold depth and a camera but no normals get those of their depth
framing = None  # whole, boxes; None: as the tasks want it
half_body = None  # dict(type=HalfBody): some views of one half of a person
jitter = dict(type=Jitter)
backdrops = None  # dict(type=Backdrops, photos="folder"): people before other places
photometric = dict(type=Photometric)
occlusion = None  # dict(type=Occlusion): part of the picture is covered

lr = 5e-4
weight_decay = 0.1
layer_decay = 0.85
betas = (0.9, 0.999)
warmup = 500
iters = 20_000
val_every = 1000
