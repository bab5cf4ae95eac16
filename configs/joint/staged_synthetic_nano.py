"""As `synthetic_nano`, in stages: points and parts first, surfaces later."""

from mmengine.config import read_base

with read_base():
    from .synthetic_nano import *

from shared.dense.balance import Staged

balance = dict(
    type=Staged,
    stages=[
        dict(at=0.0, weights=dict(seg=1.5, pose=1.5, depth=0.5, normal=0.5)),
        dict(at=0.3, weights=dict(seg=1.5, pose=1.5, depth=0.5, normal=0.5)),
        dict(at=0.5, weights=dict()),
    ],
)
