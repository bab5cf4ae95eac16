"""For laptops: tiny at 512 x 384 learns the labels of `humans_distilled_300m`, and its soft answers and features at 1024 x 768."""

from mmengine.config import read_base

with read_base():
    from .humans_distilled_300m import *

from shared.dense.decoder import Spec

backbone.update(size="tiny", image_hw=(512, 384))
decoder = dict(type=Spec, up=(128, 96), refine=(64,))
init = None
teacher = dict(checkpoint="runs/joint/humans_distilled_300m/model.safetensors", weight=1.0, features=1.0, enlarge=2.0)
batch = 16
lr = 1e-3
layer_decay = 0.9
