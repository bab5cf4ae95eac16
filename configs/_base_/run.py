"""What every run has: how long, how fast, how often something is written. Leaves only; the rest is derived in code."""

seed = 0
device = "auto"  # cpu, cuda; auto: the GPU where there is one
parallel = "auto"  # several processes: ddp (each has the whole model), fsdp2 (each a share of it); one: single; docs/scaling.md
states = "whole"  # "shares": with fsdp2, each process writes its own, in a folder: docs/scaling.md
precision = "auto"  # fp32, bf16; auto: bf16 on GPUs that have it
compile = None  # noqa: A001  # True: blocks and decoders go through torch.compile; "max-autotune": and kernels are tried out
peak_tflops = None  # of each device, for the `mfu` in the log; None: by the device's name, in bf16
work_dir = None  # None: runs/<folder of the config>/<name of the config>
init = None  # what to start from: model.safetensors of a run, an official file, or a timm ViT's safetensors
frozen = None  # of the backbone: True stands still as a whole; a number: its first blocks and what is below them
lora = None  # dict(rank=16, alpha=32): the backbone stands still, and thin matrices beside its layers are trained; docs/training.md

batch = 4  # pictures per process and micro-batch
accumulate = 1  # micro-batches per iteration
cache = None  # dict(type=Cache, folder="/scratch/shards", gigabytes=500.0): shards behind addresses are kept there, docs/scaling.md
workers = 4  # processes that read ahead, per process
clip = 1.0  # largest norm of the gradient; 0: as it is
optimizer = "adamw"  # adamw, as in the papers; adamw8bit, in less memory; muon, which learns more from each picture: docs/log.md
lr_for = None  # pictures per iteration, of all processes, that lr is meant for; it then grows with them; None: lr as it is
schedule = "cosine"  # after the warm-up: cosine, linear, constant, steps
spike = 0.0  # a gradient of so many times the usual one is not followed: docs/scaling.md; 0: any finite one is
skips = 10  # steps in a row that go wrong (NaN, infinite, a spike) before the run ends
timeout = 600.0  # seconds without a batch before a worker that hangs is named and the run ends; 0: it waits for ever
ema = 0.0  # decay of averaged weights, for example 0.9999; 0: none

log_every = 50
save_every = 1000
keep = 2  # checkpoints to go on from
preview = 4  # pictures of fixed samples at every validation; 0: none
