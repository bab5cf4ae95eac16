"""Model FLOPs utilisation: the share of what a device could compute that a training does compute (PaLM, Chowdhery et al. 2022).

What blocks compute again in the backward pass does not count as work of the model, as in the paper.
"""

from collections.abc import Mapping
from typing import Any

import torch

from shared.engine.plan import plan
from shared.engine.session import Session

PEAKS = {  # part of the device's name -> TFLOP/s in bf16 with dense matrices; NVIDIA's data sheets; the longest that fits counts
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H200": 989.0,
    "H800": 989.0,
    "GH200": 989.0,
    "B200": 2250.0,
    "A100": 312.0,
    "A800": 312.0,
    "A40": 149.7,
    "A30": 165.0,
    "A10G": 70.0,
    "A10": 125.0,
    "L40S": 362.0,
    "L4": 121.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}


def peak_of(name: str) -> float | None:
    """TFLOP/s of a device by its name; None where it is not known."""
    fits = [key for key in PEAKS if f" {key} " in f" {name.replace('-', ' ').replace('_', ' ')} "]
    return PEAKS[max(fits, key=len)] if fits else None


def share(images_per_s: float, flops: float, peak_tflops: float) -> float:
    """MFU: pictures per second of one device, times the arithmetic of a picture's training step, over its peak."""
    return images_per_s * flops / (peak_tflops * 1e12)


def utilisation(config: Mapping[str, Any], here: Session, dtype: torch.dtype | None) -> float | None:
    """MFU for each picture per second of the whole job; None where the peak or the arithmetic is not known.

    Args:
        config: of the run; its `peak_tflops`, if given, is the peak of each device.
        here: this process among the others.
        dtype: of autocast; the table is of bf16.
    """
    peak = config.get("peak_tflops")
    if peak is None and here.device.type == "cuda" and dtype is torch.bfloat16:
        peak = peak_of(torch.cuda.get_device_name(here.device))
    if not peak or config["frozen"] or config["lora"]:
        return None
    backbone = {**config["backbone"], "recompute": False}
    return share(1 / here.processes, plan({**config, "backbone": backbone}).flops, peak)
