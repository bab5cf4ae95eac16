"""A file that `shared.export` wrote, in the place of the model that it was: predictor and scores run it as they run weights.

ONNX Runtime computes, or OpenVINO where it is installed and bf16 is asked for; an .onnx that came from elsewhere is refused.
Letters: B batch, H W pixels.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared.convert.official import empty
from shared.dense.model import DenseModel, Fork
from shared.weights import FORMAT, KEY

DATA = ".data"  # added to the name of an .onnx: the file of its weights, where they are too large to be inside


class Exported(DenseModel):
    """uint8 RGB (B,3,H,W) of the file's size -> raw answers by task name, in whatever precision the file computes.

    It has the shape of the model that was exported, and none of its weights.

    Attributes:
        session: what computes; has the `run` of ONNX Runtime.
        path: of the file.
        count: pictures at a time, always; None: any number.
        lowered: `lower` had an effect.
    """

    session: Any
    path: Path
    count: int | None
    lowered = False

    def forward(self, image: Tensor, *, only: Sequence[str] | None = None, fork: Fork | None = None) -> dict[str, Tensor]:
        """Raw answers; `only` leaves others out, though the file computes them.

        Raises:
            ValueError: a picture of another size, or somebody wants what a file has not: features.
        """
        if fork is not None:
            raise ValueError(f"{self.path} can answer, and cannot be trained; use the checkpoint that it was made of")
        size = tuple(n * self.backbone.stride for n in self.backbone.grid)
        if tuple(image.shape[2:]) != size:
            raise ValueError(f"{self.path} was exported for pictures of {size[0]}x{size[1]}, and is shown "
                             f"{image.shape[2]}x{image.shape[3]}; leave --size out, or export it for that size")  # fmt: skip
        names = [task.name for task in self.tasks] if only is None else list(only)
        pieces = [image] if self.count is None else image.split(self.count)
        found = [run(self.session, piece, names, count=self.count) for piece in pieces]
        return {name: torch.cat(answers).to(image.device) for name, answers in zip(names, zip(*found))}

    def lower(self, dtype: torch.dtype) -> None:
        """From now on OpenVINO computes, in that precision; where it is not installed, and on GPUs, the file's precision stays."""
        if self.lowered or dtype is not torch.bfloat16 or find_spec("openvino") is None:
            return
        if "CUDAExecutionProvider" not in self.session.get_providers():
            self.session = None  # its memory first
            self.session, self.lowered = OpenVino(self.path), True

    def _apply(self, fn: Any, recurse: bool = True) -> "Exported":
        return self  # no weights that could be moved or cast


def load(path: Path, device: torch.device) -> tuple[Exported, dict[str, Any]]:
    """A model around a file, and the description in it.

    Raises:
        ValueError: there is no such file, or it is none of ours, or it holds final answers, or ONNX Runtime is not there.
    """
    if not path.is_file():
        raise ValueError(f"there is no checkpoint {path}")
    if find_spec("onnxruntime") is None:
        raise ValueError(f"to run {path} takes onnxruntime; install it with pip install 'vitruvian[export]'")
    session = running(path, device)
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    about = json.loads(text) if text else None
    if not isinstance(about, dict) or about.get("format") != FORMAT or "model" not in about:
        raise ValueError(f"{path} was not written by python -m shared.export of this version; export the checkpoint again")
    if about.get("answers") != "raw":
        raise ValueError(f"{path} holds a model with final answers for pictures of one size; export it with --raw for this")
    model = empty({**about["model"], "type": "shared.exported.Exported"})
    assert isinstance(model, Exported)
    batch = session.get_inputs()[0].shape[0]  # a number, or the name of what may be any
    model.session, model.path, model.count = session, path, batch if isinstance(batch, int) else None
    model.decoders, model.backbone.blocks = nn.ModuleDict(), nn.ModuleList()  # shapes without weights
    return model.eval(), about


def running(path: Path, device: torch.device | str = "cpu") -> Any:
    """A session of ONNX Runtime, with as many threads as PyTorch has.

    Raises:
        ValueError: the file cannot be read, or this ONNX Runtime has nothing for the device.
    """
    import onnxruntime  # heavy, and only some installations have it

    device, options = torch.device(device), onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ValueError(f"this onnxruntime cannot run {path} on a GPU; install onnxruntime-gpu, or use --device cpu")
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # its errors have no common class
        raise ValueError(f"ONNX Runtime cannot read {path}: {str(error).splitlines()[0]}") from error


class OpenVino:
    """A file in bfloat16 on a processor, with the `run` of ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        import openvino  # heavy, and only some installations have it  # type: ignore[reportMissingImports]

        how = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        self._compiled = openvino.Core().compile_model(str(path), "CPU", how)

    def run(self, names: Sequence[str], shown: Mapping[str, Any]) -> list[Any]:
        found = self._compiled(shown)
        return [found[name] for name in names]


def run(session: Any, image: Tensor, names: Sequence[str], *, count: int | None = None) -> list[Tensor]:
    """The outputs of these names. Where the file always wants `count` pictures, the last one stands in for those missing."""
    there = len(image)
    if count is not None and there < count:
        image = torch.cat([image, image[-1:].expand(count - there, -1, -1, -1)])
    found = session.run(list(names), {"image": image.cpu().numpy()})
    return [torch.from_numpy(answer)[:there] for answer in found]
