"""Sapiens2's pretraining at 1024 x 768: MAE in patches and blocks, cls distilled from a slow copy, KoLeo (arXiv 2604.21681).

What the paper does not say is DINO's: size of the head, of the small views (in proportion), solarisation. Its cosine ends at 1e-7,
ours at 0.
"""

from mmengine.config import read_base

with read_base():
    from .pretrain import *

from pretrain.distil import Distil
from shared.data.crops import Crops
from shared.data.photometric import Photometric

model.update(block_share=0.4, distil=dict(type=Distil))
backbone = dict(type=ViT, size="v2_400m", image_hw=(1024, 768))

train.update(shards="data/humans/photos-{000000..009999}.tar")
jitter = None
crops = dict(type=Crops, photometric=dict(type=Photometric, noise=0.0, blur=2.0, jpeg=100, solarise=0.2))

lr = 1e-4
warmup = 1000
iters = 500_000
clip = 5.0
workers = 12
