"""Masked autoencoding as Sapiens does it: 1024 x 1024, three quarters hidden, cls token (ECCV 2024; He et al. 2022)."""

from mmengine.config import read_base

with read_base():
    from .run import *

from pretrain.model import MaskedAutoencoder
from shared.data.view import Jitter
from shared.vit.model import ViT

model = dict(type=MaskedAutoencoder)
backbone = dict(type=ViT, size="300m", image_hw=(1024, 1024), cls=True, fixed_position=True)

train = dict(shards="data/humans/photos")
buckets = None  # ((1024, 1024), (1152, 896), (896, 1152), ...): pictures at about their own aspect, docs/training.md
framing = "whole"
half_body = None
jitter = dict(type=Jitter, scale=(1.0, 2.2), degrees=0.0, shift=0.2)
backdrops = None  # dict(type=Backdrops, photos="folder"): people before other places
photometric = None
occlusion = None
crops = None  # dict(type=Crops): several views of each picture, for a model that distils

lr = 1.5e-4  # for 256 pictures per iteration; scale it with the batch, or lr_for=256 does (He et al. 2022, appendix A.1)
weight_decay = 0.05
layer_decay = 1.0
betas = (0.9, 0.95)
warmup = 4000
iters = 160_000
val_every = 1000  # of pictures, and of the probe
probe = None  # dict(shards="data/labelled", every=5000): what features know, on labelled pictures; docs/training.md
