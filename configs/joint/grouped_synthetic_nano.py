"""As `synthetic_nano`, but points are learnt from people in their boxes and maps from whole pictures, each at its own size."""

from mmengine.config import read_base

with read_base():
    from .synthetic_nano import *

train.update(
    shards=None,
    groups=[
        dict(shards="data/synthetic/train", tasks=["pose"], framing="boxes", image_hw=(128, 96), batch=8),
        dict(shards="data/synthetic/train", tasks=["seg", "depth", "normal"], framing="whole", image_hw=(160, 120), batch=5),
    ],
)
accumulate = 2  # both groups in every step
