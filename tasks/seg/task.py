"""Segmentation: which part of a person is each pixel? LIP's 20 classes, Sapiens' 28, Sapiens2's 29, or a table of the user's."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shared.dense.decoder import DENSE
from shared.dense.masked import masked_mean, resize
from shared.formats import Ask, Png
from shared.render import overlay_labels
from shared.task import Batch, Framing, Legend, Score, Task
from shared.vocabulary import Vocabulary
from tasks.seg.boundary import TOLERANCE, beside, matches

IGNORE = 255
MEANS = {"miou": "iou", "macc": "acc", "boundary_f": "boundary_f"}  # score -> the column whose mean over classes it is
SMOOTH = 1e-3  # of Dice, above and below
LABELS = Path(__file__).parent / "labels"


@dataclass(frozen=True)
class Seg(Task):
    """Part segmentation by weighted cross-entropy.

    Args:
        labels: name of a table in `tasks/seg/labels/`, path of one of the user's, or the table itself.
        weighted: weigh classes as the table says (official); otherwise all alike.
        dice: weight of a soft Dice term over the classes that are in the picture, without the first, the background; 0 as in
            Sapiens' configs, 1 in Sapiens2's.
        border: factor of the cross-entropy of pixels near another class; 1, as officially, is none.
        border_reach: how near: below 1 a share of the frame's diagonal, from 1 on pixels, along rows and columns; at least one.
        undo: how much of the class weights the answers take back: raw minus `undo` times the logarithm of the weights (Menon et al.
            2021, logit adjustment). 0 as officially; 1 answers what is most likely at a pixel. A model that is not trained to
            the end needs it: with 0.1 on the background and 10 on socks, every doubt turns into a person.
        trust: the cross-entropy of a pixel counts as much as the teacher who labelled it was sure (the field `sure`, 0 to 1);
            pixels that no teacher labelled count in full. For shards of tasks/joint/label.py --sure.
        temperature: by which the logits of student and teacher are divided where one imitates the other: above 1, the classes that
            the teacher takes for unlikely count more (Hinton et al. 2015).
        soft: answer with the probability of every class instead of the likeliest; for inference, 28 times as large.
    """

    labels: str | Mapping[str, Any] = "sapiens28"
    weighted: bool = True
    dice: float = 0.0
    border: float = 1.0
    border_reach: float = TOLERANCE
    undo: float = 0.0
    trust: bool = False
    temperature: float = 1.0
    soft: bool = False

    name: ClassVar[str] = "seg"
    field: ClassVar[str] = "seg"
    answers: ClassVar = "map"
    framing: ClassVar[Framing] = Framing.WHOLE
    score: ClassVar[Score] = Score("miou", higher_is_better=True)
    alike: ClassVar[tuple[str, ...]] = ("weighted",)
    formats: ClassVar = {"png": "seg.png", "palette": "seg.palette.png", "alpha": "seg.alpha.png", "soft": "seg.soft.npy"}

    @property
    def heeds(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("sure",) if self.trust else ()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.named(self.labels, LABELS)

    @property
    def channels(self) -> int:
        return len(self.vocabulary)

    @property
    def head(self) -> Mapping[str, Any]:
        return {"spec": DENSE}

    def loss(self, raw: Tensor, batch: Batch) -> dict[str, Tensor]:
        """`ce`: weighted by class, border, trust; divided by the number of known pixels, not their weights (trap 9)."""
        target = batch["seg"].long()
        known = target != IGNORE
        raw = resize(raw, target.shape[-2:])
        weights = self.vocabulary.weights if self.weighted else None
        weight = raw.new_tensor(weights) if weights else None
        ce = F.cross_entropy(raw, target, weight=weight, ignore_index=IGNORE, reduction="none")
        if self.border != 1:
            ce = torch.where(beside(target, known, self._reach_px(target.shape[-2:])), self.border * ce, ce)
        if self.trust:
            sure = batch["sure"]
            ce = ce * torch.where(sure.isfinite(), sure, 1)
        terms = {"ce": masked_mean(ce, known)}
        if self.dice:
            terms["dice"] = self.dice * self._dice(raw, target, known)
        return terms

    def _reach_px(self, hw: Sequence[int]) -> int:
        return max(1, round(self.border_reach * (math.hypot(*hw) if self.border_reach < 1 else 1)))

    def _dice(self, raw: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """One minus the soft Dice coefficient, squares below (Milletari et al. 2016; Sapiens2's specification, section 2.2).

        Mean over the classes present in a picture, then over pictures with any known pixel; background alone costs 0.
        """
        share = raw.softmax(1)[:, 1:] * known[:, None]
        truth = F.one_hot(target.where(known, 0), self.channels).movedim(-1, 1)[:, 1:] * known[:, None]
        both, squares = ((2 * share * truth).sum((2, 3)), (share**2 + truth).sum((2, 3)))  # a truth is 0 or 1: its own square
        lost, there = 1 - (both + SMOOTH) / (squares + SMOOTH), truth.sum((2, 3)) > 0
        per_picture = (lost * there).sum(1) / there.sum(1).clamp(min=1)
        return masked_mean(per_picture, known.flatten(1).any(1))

    def imitate(self, raw: Tensor, taught: Tensor) -> Tensor:
        """The Kullback-Leibler divergence of softened probabilities times the temperature squared (Hinton et al. 2015), which keeps
        the size of its gradient.
        """
        mine, theirs = ((x / self.temperature).log_softmax(1) for x in (raw, resize(taught, raw.shape[-2:])))
        return self.temperature**2 * F.kl_div(mine, theirs, reduction="none", log_target=True).sum(1).mean()

    def decode(self, raw: Tensor) -> Tensor:
        """(B,C,h,w) -> (B,h,w) uint8 class ids, or (B,C,h,w) probabilities if `soft`."""
        raw = self._adjusted(raw)
        return raw.softmax(1) if self.soft else _largest(raw)

    def _adjusted(self, raw: Tensor) -> Tensor:
        weights = self.vocabulary.weights if self.weighted and self.undo else None
        return raw - self.undo * raw.new_tensor(weights).log()[:, None, None] if weights else raw

    def measure(self, answer: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """The confusion matrix of known pixels, flat: entry (t, a) counts pixels of class t answered a. Then, of each class, how
        many border pixels of the answer are right, all of them, how many of the truth are found, all of them (boundary.py).
        """
        target, classes, answer = truth["seg"].long(), self.channels, likeliest(answer)
        known = target != IGNORE
        if known.any() and int(target[known].max()) >= classes:
            raise ValueError(f"the truth holds class {int(target[known].max())}, but the vocabulary ends at {classes - 1}")
        pairs = target[known] * classes + answer.long()[known]
        borders = matches(answer.numpy(), truth["seg"].numpy(), classes, ignore=IGNORE)
        return torch.cat([torch.bincount(pairs, minlength=classes * classes).double(), torch.from_numpy(borders).flatten()])

    def summarise(self, rows: Tensor) -> dict[str, float]:
        """`miou` and `macc` over the classes that occur in the truth, `aacc` over pixels, `person_iou` of all but class 0, the
        foreground; `boundary_f` over the classes that have a border in the truth.
        """
        matrix, columns = self._matrix(rows), self._columns(rows)
        person = matrix[1:, 1:].sum()
        means = {name: columns[column].nanmean().item() for name, column in MEANS.items()}
        return means | {
            "aacc": (matrix.diag().sum() / matrix.sum()).item(),
            "person_iou": (person / (matrix.sum() - matrix[0, 0])).item(),
        }

    def details(self, rows: Tensor) -> Mapping[str, Mapping[str, float]]:
        """Class by class: `iou`, `acc` (recall), `precision`, `boundary_f`, and `share` of the known pixels; NaN where the truth
        has none of it.
        """
        columns = self._columns(rows)
        return {name: {c: columns[c][i].item() for c in columns} for i, name in enumerate(self.vocabulary.names)}

    def _matrix(self, rows: Tensor) -> Tensor:
        return rows.sum(0)[: self.channels**2].view(self.channels, self.channels)

    def _columns(self, rows: Tensor) -> dict[str, Tensor]:
        """(K,) of each score."""
        matrix = self._matrix(rows)
        right, truth, answer = matrix.diag(), matrix.sum(1), matrix.sum(0)
        good, drawn, found, real = rows.sum(0)[self.channels**2 :].view(self.channels, 4).unbind(1)
        precision, recall = good / drawn.clamp(min=1), found / real.clamp(min=1)
        f = 2 * precision * recall / (precision + recall).clamp(min=1e-300)
        iou, acc = right / (truth + answer - right), right / truth
        columns = {"iou": iou, "acc": acc, "precision": right / answer.clamp(min=1)}
        there = {name: torch.where(truth > 0, value, torch.nan) for name, value in columns.items()}
        return there | {"boundary_f": torch.where(real > 0, f, torch.nan), "share": truth / matrix.sum()}

    def trivial(self, batch: Batch) -> Tensor:
        """The commonest class, everywhere, whatever its weight."""
        target = batch["seg"].long()
        counts = torch.bincount(target[target != IGNORE], minlength=self.channels)
        return 100 * F.one_hot(counts.argmax(), self.channels).float()[:, None, None].expand(-1, 2, 2).contiguous()

    def files(self, answer: np.ndarray) -> dict[str, Any]:
        return {"seg.png": likeliest(answer).astype(np.uint8)}

    def content(self, answer: np.ndarray, form: str, ask: Ask) -> Any:
        """`palette`: ids in the colours of the table. `alpha`: 255 where somebody is, in between where probabilities say so.
        `soft`: (H,W,K) float16 probabilities.
        """
        ids = likeliest(answer).astype(np.uint8)
        if form == "palette":
            return Png(ids, palette=self.vocabulary.colours)
        if form == "alpha":
            return _cover(answer) if answer.ndim == 3 else np.where(ids > 0, 255, 0).astype(np.uint8)
        return answer.astype(np.float16) if form == "soft" else ids

    def decoding_for(self, formats: Collection[str]) -> "Seg":
        return replace(self, soft=True) if "soft" in formats else self

    def render(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        return overlay_labels(image, likeliest(answer).astype(np.uint8), np.asarray(self.vocabulary.colours, np.uint8))

    def legend(self, answer: np.ndarray) -> Legend:
        """The parts that cover anything; the background is the photo itself."""
        pixels = np.bincount(likeliest(answer).astype(np.uint8).ravel(), minlength=self.channels)[: self.channels]
        pixels[0] = 0
        there = sorted(pixels.nonzero()[0].tolist(), key=lambda part: -pixels[part])
        return [(self.vocabulary.names[part], self.vocabulary.colours[part]) for part in there]


def _largest(raw: Tensor) -> Tensor:
    """The first of the largest channels: (B,C,h,w) -> (B,h,w) uint8. As argmax, which takes processors three times as long."""
    if raw.is_cuda or torch.compiler.is_exporting():
        return raw.argmax(1).to(torch.uint8)
    most, at = raw[:, 0].clone(), torch.zeros_like(raw[:, 0], dtype=torch.float32)
    for channel in range(1, raw.shape[1]):
        values = raw[:, channel]
        at = torch.where(values > most, float(channel), at)
        torch.maximum(most, values, out=most)
    return at.to(torch.uint8)


def likeliest(answer: Any) -> Any:
    """Class ids (H,W), of probabilities (H,W,K) or as they are."""
    return answer.argmax(-1) if answer.ndim == 3 else answer


def _cover(probabilities: np.ndarray) -> np.ndarray:
    """(H,W) uint8, 255 times the probability that it is not the background."""
    return np.rint(255 * (1 - probabilities[..., 0].astype(np.float64)).clip(0, 1)).astype(np.uint8)
