"""What Sapiens' configs for parts, depth and normals have in common (specification of the official code, sections 4 to 6 and 8).

There it is 200 epochs of private data, one or two pictures per GPU, and a picture that its factor makes smaller than the frame is
stretched onto it; here it keeps its aspect and stays small.
"""

from mmengine.config import read_base

with read_base():
    from .finetune import *

jitter.update(scale=(0.2, 2.0), even=True, shift=0.25, turned=0.5)  # the shift is ours: at twice the size it reaches every corner
photometric.update(shuffle=0.5, noise=0.0, blur=0.0, jpeg=100)
schedule = "linear"
warmup = 400
batch = 2
