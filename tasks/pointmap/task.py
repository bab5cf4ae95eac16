"""Pointmaps: where in space is each pixel, in metres, and through which focal length was it seen? x right, y down, z forward."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shared.dense.canonical import canonical_scale
from shared.dense.decoder import POINTMAP
from shared.dense.distance import ERRORS, alignments, compared, seen
from shared.dense.masked import capped, masked_mean, resize, silog
from shared.formats import thinned
from shared.render import colour_points
from shared.task import Batch, Framing, Score, Task
from tasks.pointmap.geometry import Truth, rays, surfaces, truth, unproject

SMALLEST = 1e-3  # s of a focal length of a thousand picture widths: what is below is no camera, and metres divide by it
WITHIN = (0.05, 0.1, 0.2)  # of the distance from the camera
ALIGNMENTS = ("as answered", "median", "scale and shift")  # of depth, z
DEPTHS = 1 + len(ALIGNMENTS) * len(ERRORS)  # numbers at the end of a row


@dataclass(frozen=True)
class Pointmap(Task):
    """Metric points by way of a canonical camera (Sapiens2, arXiv 2604.21681; numbers from the specification, section 2.4).

    Seen through a longer lens the same picture is farther away, so the raw answer is canonical: the points times s, and s, the
    width of the network's frame over the focal length in its pixels (officially 768 / f). Every cost is a mean over known pixels,
    of points divided by s as each picture's truth says it. Official weights are the defaults; 0 leaves a cost out.

    Args:
        l1: weight of the distance along x, y and z, in mean depths of the picture.
        multiscale: of the same on maps enlarged twice. The error is enlarged, 0 where unknown; officially answer and target are,
            which differs where known meets unknown.
        shift: of the same after the best shift of each picture.
        silog: of the scale-invariant logarithm of z, half of the squared mean forgiven.
        camera: of the answer's distance from the true camera's rays at the answer's own depth, canonical.
        normal: of one minus cosine plus the mean difference of surface normals between a pixel and those right of and below it.
            Left out: pixels of which one of the three is unknown (officially 0 there), and the last row and column.
        scale: of the distance of s.
        cap: none of the three distances costs more. Officially there is no gradient beyond it; here it shrinks, and goes on.
        floor: below it the logarithm goes on as a straight line, as in tasks/depth (official: clamped at 1e-4, canonical).
    """

    l1: float = 2.0
    multiscale: float = 1.0
    shift: float = 1.0
    silog: float = 1.0
    camera: float = 1.0
    normal: float = 2.0
    scale: float = 4.0
    cap: float = 4.0
    floor: float = 1e-2

    name: ClassVar[str] = "pointmap"
    field: ClassVar[str] = "depth"
    also: ClassVar = ("intrinsics",)
    answers: ClassVar = "map"
    lengths: ClassVar[tuple[int, ...]] = (3,)
    odd: ClassVar[tuple[int, ...]] = (0,)  # X
    framing: ClassVar[Framing] = Framing.WHOLE
    score: ClassVar[Score] = Score("l2_m", higher_is_better=False)
    formats: ClassVar = {"npy": "pointmap.npy", "ply": "pointmap.ply", "json": "pointmap.json"}

    @property
    def channels(self) -> int:
        return 4

    @property
    def head(self) -> Mapping[str, Any]:
        return {"spec": POINTMAP, "bias": (0.0, 0.0, 1.0, 1.0)}  # a width away through a normal lens: the logarithm starts inside

    def loss(self, raw: Tensor, batch: Batch) -> dict[str, Tensor]:
        told = truth(batch["depth"], batch["intrinsics"])
        points = torch.where(told.known[:, None], resize(raw[:, :3], told.known.shape[-2:]), 0)
        scale = told.scale[:, None, None, None]
        depth = _mean(told.points[:, 2:], told.known) * scale
        error = (points - scale * told.points) / torch.where(depth > 0, depth, 1)
        costs = {
            "l1": lambda: _length(error, told.known),
            "multiscale": lambda: _enlarged(error, told.known),
            "shift": lambda: _length(torch.where(told.known[:, None], error - _mean(error, told.known), 0), told.known),
            "silog": lambda: silog(points[:, 2], scale[:, 0] * told.points[:, 2], told.known, focus=0.5, floor=self.floor),
            "camera": lambda: _off_rays(points, told),
            "normal": lambda: _bent(points / scale, told),
            "scale": lambda: masked_mean((raw[:, 3].flatten(1) - told.scale[:, None]).abs().mean(1), told.seen_by),
        }
        terms = {name: getattr(self, name) * cost() for name, cost in costs.items() if getattr(self, name)}
        return {name: capped(term, self.cap) if name in ("l1", "multiscale", "shift") else term for name, term in terms.items()}

    def imitate(self, raw: Tensor, taught: Tensor) -> Tensor:
        """The distance along canonical x, y and z in the teacher's mean depths of the picture, as `l1`, and that of s."""
        taught = resize(taught, raw.shape[-2:])
        off = (raw - taught).abs()
        depth = taught[:, 2].abs().mean((1, 2)).clamp(min=SMALLEST)
        return (off[:, :3].sum(1).mean((1, 2)) / depth).mean() + off[:, 3].mean()

    def decode(self, raw: Tensor) -> Tensor:
        """(B,4,h,w) -> (B,4,h,w): X, Y, Z in metres, and the focal length in widths of the view."""
        scale = raw[:, 3:].clamp(min=SMALLEST)
        return torch.cat([raw[:, :3] / scale, 1 / scale], 1)

    def measure(self, answer: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """Answer (H,W,4) metres and focal_px. Whether there is depth, then means: L2, |X|, |Y|, |Z|, L2 squared, within 5, 10 and
        20 % of the distance; whether the camera is known, then the relative error of the focal length; whether there is depth, then
        the errors of Z under each alignment.
        """
        target = self.ideal(truth).double()
        known = target.isfinite().all(-1) & (target[..., 2] > 0)  # depth and camera
        row = torch.zeros(len(WITHIN) + 8, dtype=torch.float64)
        if known.any():
            off = (answer.double() - target)[known][:, :3]
            distance, allowed = off.norm(dim=1), target[known][:, :3].norm(dim=1)
            within = [(distance <= share * allowed).double().mean() for share in WITHIN]
            row[:-2] = torch.stack([known.any().double(), distance.mean(), *off.abs().mean(0), (distance**2).mean(), *within])
        focal = truth["intrinsics"][0].double()
        if focal.isfinite() and focal > 0:
            row[-2:] = torch.stack([torch.ones_like(focal), (answer[..., 3].double().mean() - focal).abs() / focal])
        return torch.cat([row, compared(answer[..., 2][known], target[..., 2][known], ALIGNMENTS)])

    def summarise(self, rows: Tensor) -> dict[str, float]:
        """Means over pictures with depth: `l2_m`, `x_m`, `y_m`, `z_m`, `rmse_m`, `within_<percent>`; with a camera: `focal_rel`."""
        n, *sums, cameras, focal = rows[:, :-DEPTHS].sum(0).tolist()
        nan = float("nan")
        l2, x, y, z, square, *within = [value / n if n else nan for value in sums]
        scores = {"l2_m": l2, "x_m": x, "y_m": y, "z_m": z, "rmse_m": square**0.5}
        scores |= {f"within_{round(100 * share)}": value for share, value in zip(WITHIN, within)}
        return scores | {"focal_rel": focal / cameras if cameras else nan}

    def details(self, rows: Tensor) -> Mapping[str, Mapping[str, float]]:
        """The errors of depth alone, as answered in metres and under both alignments."""
        return alignments(rows[:, -DEPTHS:], ALIGNMENTS)

    def ideal(self, truth: Mapping[str, Tensor]) -> Tensor:
        """(H,W,4): points, NaN where depth or camera are unknown, and focal_px."""
        depth, intrinsics = truth["depth"], truth["intrinsics"]
        points = unproject(depth[None], intrinsics[None])[0].movedim(0, -1)
        return torch.cat([points, intrinsics[0].expand(*depth.shape, 1)], -1)

    def trivial(self, batch: Batch) -> Tensor:
        """A plane at the mean depth before the mean camera."""
        depth, intrinsics = batch["depth"], batch["intrinsics"]
        (H, W), known = depth.shape[-2:], seen(depth)
        cameras = intrinsics[canonical_scale(intrinsics, W)[1]]
        camera = cameras.mean(0) if len(cameras) else intrinsics.new_tensor([W, W, (W - 1) / 2, (H - 1) / 2])
        h, w = max(H // 4, 2), max(W // 4, 2)
        coarse = camera * camera.new_tensor([w / W, h / H, w / W, h / H]) + camera.new_tensor(
            [0, 0, w / W / 2 - 0.5, h / H / 2 - 0.5]
        )
        plane = torch.full((1, h, w), depth[known].mean().item() if known.any() else 1.0)
        scale = W / camera[0]
        return torch.cat([scale * unproject(plane, coarse[None])[0], scale.expand(1, h, w)])

    def files(self, answer: np.ndarray) -> dict[str, Any]:
        """Points (H,W,3), NaN where the answer lies behind the camera; a cloud of at most a million of them; the focal length."""
        points = np.where(answer[..., 2:3] > 0, answer[..., :3], np.nan).astype(np.float32)
        focal = {
            "focal_px": round(float(answer[..., 3].mean(dtype=np.float64)), 3),
            "units": "metres",
            "axes": "x right, y down, z forward",
        }
        return {"pointmap.npy": points, "pointmap.ply": thinned(points), "pointmap.json": focal}

    def render(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        return colour_points(answer[..., :3])


def _mean(values: Tensor, known: Tensor) -> Tensor:
    """Mean over known pixels of each picture: (B,C,H,W), 0 where unknown -> (B,C,1,1)."""
    return values.sum((2, 3), keepdim=True) / known.sum((1, 2)).clamp(min=1)[:, None, None, None]


def _length(error: Tensor, known: Tensor) -> Tensor:
    """Mean of |x| + |y| + |z|."""
    return masked_mean(error.abs().sum(1), known)


def _enlarged(error: Tensor, known: Tensor) -> Tensor:
    """`_length` on maps of twice the size."""
    error = F.interpolate(error, scale_factor=2, mode="bilinear", align_corners=False)
    return _length(error, known.repeat_interleave(2, 1).repeat_interleave(2, 2))


def _off_rays(points: Tensor, told: Truth) -> Tensor:
    """How far points lie beside the rays of their pixels."""
    x, y = rays(told.intrinsics, (points.shape[-2], points.shape[-1]))
    beside = (points[:, 0] - x * points[:, 2]).abs() + (points[:, 1] - y * points[:, 2]).abs()
    return masked_mean(torch.where(told.known, beside, 0), told.known)


def _bent(points: Tensor, told: Truth) -> Tensor:
    """How far surfaces are turned."""
    target, known = surfaces(told.points), told.known
    known = known[:, :-1, :-1] & known[:, :-1, 1:] & known[:, 1:, :-1] & (target.norm(dim=1) > 1e-6)
    target, found = (F.normalize(torch.where(known[:, None], s, 0), dim=1, eps=1e-6) for s in (target, surfaces(points)))
    return masked_mean(1 - (found * target).sum(1) + (found - target).abs().mean(1), known)
