"""From a config to teachers: the models that a run's student imitates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from shared import checkpoint
from shared.build import build
from shared.dense.distil import Distillation


def teaching(options: Mapping[str, Any] | None, student: Any, device: torch.device) -> Distillation | None:
    """What a config's `teacher` describes, on the device.

    Args:
        options: `checkpoint`, one or several, ours or official, and arguments of Distillation; None: there are no teachers.
        student: the model that is trained.
        device: of both.

    Raises:
        ValueError: a file is no checkpoint of answers, or the options or answers do not fit the student.
    """
    if options is None:
        return None
    if not isinstance(options, Mapping) or not options.get("checkpoint"):
        raise ValueError(f"teacher={options!r} names no model; give {{'checkpoint': 'model.safetensors', 'weight': 1.0}}")
    paths = options["checkpoint"]
    models = [checkpoint.answering(path, device=device)[0] for path in ([paths] if isinstance(paths, str | Path) else paths)]
    rest = {name: value for name, value in options.items() if name != "checkpoint"}
    return build({**rest, "type": Distillation}, student=student, teachers=models).to(device)
