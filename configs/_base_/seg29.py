"""Sapiens2's 29 parts on a backbone of Sapiens: Dice beside cross-entropy, and its own views (its specification, section 2.2)."""

from mmengine.config import read_base

with read_base():
    from .seg import *

tasks = [dict(type=Seg, labels="sapiens29", dice=1.0)]
jitter.update(scale=(0.4, 2.0), degrees=60.0)
photometric.update(noise=4.5, blur=2.0)  # variances of 5 to 20, deviations of 0.1 to 2 officially
