"""Pose: where are the keypoints? Heatmaps of 17 body points, 243 face points, or a table of the user's."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shared.dense.decoder import HEATMAP
from shared.dense.masked import share
from shared.formats import Ask
from shared.render import draw_keypoints
from shared.task import Batch, Framing, Score, Task
from shared.vocabulary import Vocabulary
from tasks.pose.answers import listed, openpose, shared_points
from tasks.pose.heatmap import gaussians, peaks
from tasks.pose.measures import SIGMA, face_row, face_scores, part_row, parts, similarities

SKELETONS = Path(__file__).parent / "skeletons"
CONVENTIONS = {"coco17": "coco17", "wholebody133": "wholebody133", "openpose": "openpose137"}  # format -> table it is written in
PCK = (0.05, 0.1)  # shares of the longer side of the person's box


@dataclass(frozen=True)
class Pose(Task):
    """Heatmap regression (Sapiens, ECCV 2024, section 4.1).

    Args:
        skeleton: name of a table in `tasks/pose/skeletons/`, path of one of the user's, or the table itself.
        sigma: of the Gaussians, as a share of the heatmap's height (official: 6 of 256 pixels).
        hardest: 0, or how many of the worst points of each picture count (OHKM; official for 308 points: 128).
        blur: odd kernel of the blur before the sub-pixel step, heatmap pixels.
        reach: longest sub-pixel step along either axis, heatmap pixels (official: without end).
        threshold: score below which a point is not drawn.
    """

    skeleton: str | Mapping[str, Any] = "coco17"
    sigma: float = 6 / 256
    hardest: int = 0
    blur: int = 11
    reach: float = 1.0
    threshold: float = 0.3

    name: ClassVar[str] = "pose"
    field: ClassVar[str] = "keypoints"
    answers: ClassVar = "points"
    alike: ClassVar[tuple[str, ...]] = ("sigma",)
    framing: ClassVar[Framing] = Framing.BOXES
    score: ClassVar[Score] = Score("pck10", higher_is_better=True)
    formats: ClassVar[Mapping[str, str]] = {"json": "pose.json"} | {form: f"pose.{form}.json" for form in CONVENTIONS}
    usual: ClassVar[tuple[str, ...]] = ("json",)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.named(self.skeleton, SKELETONS)

    @property
    def channels(self) -> int:
        return len(self.vocabulary)

    @cached_property
    def _columns(self) -> int:
        """Numbers in a row of measurements."""
        nobody = torch.zeros(self.channels, dtype=torch.float64)
        known, points = nobody > 0, torch.zeros(self.channels, 2, dtype=torch.float64)
        beyond = part_row(nobody, known, self.vocabulary) + face_row(nobody, points, known, self.vocabulary)
        return len(PCK) + 3 + len(beyond)

    @property
    def head(self) -> Mapping[str, Any]:
        return {"spec": HEATMAP, "std": 0.001}

    def loss(self, raw: Tensor, batch: Batch) -> dict[str, Tensor]:
        """`mse` over the pixels of known points; with `hardest`, over the worst points of each picture only."""
        target, known = self.target(batch, (raw.shape[-2], raw.shape[-1]))
        error = ((raw - target) ** 2).mean((2, 3)) * known  # (B,K)
        if self.hardest:
            # The worst unknown points cost 0, so fewer known than `hardest` is no special case.
            worst = error.topk(min(self.hardest, self.channels), 1)
            return {"mse": worst.values.sum() / share(known.gather(1, worst.indices).sum())}
        return {"mse": error.sum() / share(known.sum())}

    def imitate(self, raw: Tensor, taught: Tensor) -> Tensor:
        """The squared error of heatmaps, of all points alike."""
        if taught.shape[-2:] != raw.shape[-2:]:  # of heatmaps, the centres of the corner pixels lie on one another
            taught = F.interpolate(taught, raw.shape[-2:], mode="bilinear", align_corners=True)
        return ((raw - taught) ** 2).mean()

    def target(self, batch: Batch, hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Heatmaps (B,K,h,w) and which points are known (B,K), from keypoints in image pixels."""
        (H, W), (h, w) = batch["image"].shape[-2:], hw
        points = batch["keypoints"]
        scale = points.new_tensor([(w - 1) / max(W - 1, 1), (h - 1) / max(H - 1, 1)])
        known = (points[..., 2] > 0) & points.isfinite().all(-1)
        xy = torch.where(known[..., None], points[..., :2], 0) * scale
        maps, inside = gaussians(xy, hw, self.sigma * h)
        return maps, known & inside

    def decode(self, raw: Tensor) -> Tensor:
        """(B,K,h,w) -> (B,K,3): x, y in heatmap pixels, score."""
        return peaks(raw, blur=self.blur, reach=self.reach)

    def measure(self, answer: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """Known points, those within 5 and 10 % of the box's longer side, OKS, whether there is anybody; parts; the face."""
        points, box = truth["keypoints"].double(), truth["box"].double()
        known = (points[:, 2] > 0) & points.isfinite().all(1)
        n = known.sum().double()
        if not n:
            return torch.zeros(self._columns, dtype=torch.float64)
        extent = (box[2:] - box[:2]).clamp(min=1) if box.isfinite().all() else _extent(points[known, :2])
        distance = (answer.double()[:, :2] - points[:, :2]).norm(dim=1)
        within = [(distance[known] <= share * extent.max()).sum().double() for share in PCK]
        sigmas = torch.tensor(self.vocabulary.sigmas or [SIGMA] * self.channels, dtype=torch.float64)
        similar = similarities(distance, sigmas, extent.prod().clamp(min=1))  # the box stands for the area of the person
        row = [n, *within, similar[known].mean(), torch.ones((), dtype=torch.float64)]
        row += part_row(similar, known, self.vocabulary)
        return torch.stack(row + face_row(distance, points[:, :2], known, self.vocabulary))

    def summarise(self, rows: Tensor) -> dict[str, float]:
        """`pck05`, `pck10` over known points; `oks` and `oks_<part>`, means over people; `nme`, `auc..`, `fr..` of faces."""
        n, *within, oks, people = (sums := rows.sum(0).tolist())[: len(PCK) + 3]
        nan = float("nan")
        shares = {f"pck{round(100 * limit):02d}": count / n if n else nan for limit, count in zip(PCK, within)}
        scores = shares | {"oks": oks / people if people else nan}
        rest = sums[len(PCK) + 3 :]
        for name, total, count in zip(parts(self.vocabulary), rest[::2], rest[1::2]):
            scores[f"oks_{name}"] = total / count if count else nan
        return scores | face_scores(rest[2 * len(parts(self.vocabulary)) :])

    def trivial(self, batch: Batch) -> Tensor:
        """The mean of each point in the frame of the network."""
        points, (H, W) = batch["keypoints"], batch["image"].shape[-2:]
        known = (points[..., 2] > 0)[..., None]
        mean = torch.where(known, points[..., :2], 0).sum(0) / known.sum(0).clamp(min=1)
        h, w = H // 4, W // 4
        scale = mean.new_tensor([(w - 1) / (W - 1), (h - 1) / (H - 1)])
        return gaussians((mean * scale)[None], (h, w), self.sigma * h)[0][0]

    def files(self, answer: np.ndarray) -> dict[str, Any]:
        """One picture's people: (K,3), or (P,K,3) where boxes were given."""
        return {"pose.json": self.content(answer, "json", Ask())}

    def content(self, answer: np.ndarray, form: str, ask: Ask) -> Any:
        people = self._people(answer)
        if form not in CONVENTIONS:
            return listed(people, self.vocabulary, ask.about, Path(self.skeleton).stem if isinstance(self.skeleton, str) else None)
        words = Vocabulary.named(CONVENTIONS[form], SKELETONS)
        people = words.rewrite(people, self.vocabulary.names)
        return openpose(people, words) if form == "openpose" else listed(people, words, ask.about, form)

    def decoding_for(self, formats: Collection[str]) -> Task:
        for form in sorted(CONVENTIONS.keys() & set(formats)):
            words = Vocabulary.named(CONVENTIONS[form], SKELETONS)
            if not shared_points(words, self.vocabulary.names):
                raise ValueError(
                    f"pose cannot be written as {form}: none of its points is one of this model's, which begin with "
                    f"{', '.join(self.vocabulary.names[:3])}; leave {form} out of --formats"
                )
        return self

    def render(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        table, colours = self.vocabulary, np.asarray(self.vocabulary.colours, np.uint8)
        return draw_keypoints(image, self._people(answer), table.links, colours, threshold=self.threshold)

    def _people(self, answer: np.ndarray) -> np.ndarray:
        return answer.astype(np.float64).reshape(-1, self.channels, 3)


def _extent(xy: Tensor) -> Tensor:
    """Width and height of the points, pixels, at least 1."""
    return (xy.amax(0) - xy.amin(0)).clamp(min=1)
