"""Self-distillation on cls: parts of a picture have to answer as a slow copy of the model does, the teacher, which sees all of it.

DINO's losses (Caron et al. 2021) beside the masked autoencoder's, as in Sapiens2 (specification, section 5.1); what the paper does
not say is DINO's. Letters: B pictures, V views of each, D width, K prototypes.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn

from pretrain.everyone import averaged
from pretrain.head import Head
from pretrain.koleo import koleo
from shared.vit.model import ViT


@dataclass(frozen=True)
class Distil:
    """How a pretraining distils beside it paints; the numbers are Sapiens2's, the head is DINO's.

    Args:
        weight: of the cross-entropy, the painting's being 1.
        apart: weight of KoLeo, which keeps pictures apart.
        prototypes: K, among which a view chooses.
        hidden: width inside of the head.
        bottleneck: width of what is compared with prototypes.
        momentum: of the teacher, which keeps this share of itself in a step: in the first and, by a cosine, in the last.
        centring: what the centre keeps of itself in a step; 1: there is no centring.
        sharp: temperature of the student's answers.
        sharper: of the teacher's, at first and after `warmup` iterations, in a straight line.
        warmup: iterations.

    Raises:
        ValueError: a share that is none, or a temperature that is not above 0.
    """

    weight: float = 0.4
    apart: float = 0.04
    prototypes: int = 65_536
    hidden: int = 2048
    bottleneck: int = 256
    momentum: tuple[float, float] = (0.992, 0.992)
    centring: float = 0.9
    sharp: float = 0.1
    sharper: tuple[float, float] = (0.065, 0.07)
    warmup: int = 1000

    def __post_init__(self) -> None:
        if wrong := [share for share in (*self.momentum, self.centring) if not 0 <= share <= 1]:
            raise ValueError(f"{wrong[0]} is no share that a teacher or a centre keeps of itself; it is between 0 and 1")
        if min(self.sharp, *self.sharper) <= 0:
            raise ValueError(f"sharp={self.sharp} and sharper={self.sharper} are temperatures, which are above 0")

    def momentum_at(self, done: int, total: int) -> float:
        """What the teacher keeps of itself after the iteration that follows `done` of `total`."""
        first, last = self.momentum
        return last - (last - first) * (cos(pi * done / max(total, 1)) + 1) / 2

    def sharper_at(self, done: int) -> float:
        """The teacher's temperature in that iteration."""
        first, last = self.sharper
        return first + (last - first) * min(done / max(self.warmup, 1), 1)


class Teacher(nn.Module):
    """A copy of backbone and head that follows them and learns nothing by itself: picture (B,3,H,W) -> cosines (B,K)."""

    def __init__(self, backbone: ViT, head: Head) -> None:
        super().__init__()
        self.backbone, self.head = _copy(backbone), _copy(head)
        self.backbone.recompute = False  # there is nothing to go back through
        self.eval()

    def train(self, mode: bool = True) -> "Teacher":
        """It never drops anything."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        return self.head(cls_of(self.backbone, image))

    @torch.no_grad()
    def follow(self, backbone: ViT, head: Head, momentum: float) -> None:
        """Keep this share of every weight, and take the rest from those; at 0 it is their copy."""
        theirs, ours = dict(_weights(backbone, head)), dict(_weights(self.backbone, self.head))
        if theirs.keys() != ours.keys():
            raise ValueError("the student has weights that its teacher lacks; pretraining with a teacher goes without lora")
        for name, weight in ours.items():
            if momentum == 0 or not weight.is_floating_point():
                weight.copy_(theirs[name])
            else:
                weight.mul_(momentum).add_(theirs[name], alpha=1 - momentum)


def _copy(part: Any) -> Any:
    """A copy that learns nothing."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach().clone(), requires_grad=False) for p in part.parameters()}
    memo |= {id(buffer): buffer.clone() for buffer in part.buffers()}  # tensors without content cannot be copied deeply
    return deepcopy(part, memo)


def _weights(backbone: ViT, head: Head) -> Iterator[tuple[str, Tensor]]:
    """Parameters, and buffers that are loaded."""
    for name, part in (("backbone", backbone), ("head", head)):
        yield from ((f"{name}.{key}", value) for key, value in part.named_parameters())
        yield from ((f"{name}.{key}", value) for key, value in part.named_buffers())


class Distiller(nn.Module):
    """The student's head, the teacher and the centre, which a run's states hold with all else.

    Args:
        backbone: the student's, of which the teacher is a copy.
        recipe: how it is done.

    Attributes:
        centre: (K,) running mean of the teacher's answers: without it all pictures would come to choose one prototype.

    Raises:
        ValueError: the backbone has no cls token.
    """

    centre: Tensor
    seen: Tensor

    def __init__(self, backbone: ViT, recipe: Distil) -> None:
        super().__init__()
        if backbone.cls_token is None:
            raise ValueError("self-distillation compares cls tokens, and this backbone has none; set backbone.cls=True")
        self.recipe = recipe
        self.head = Head(backbone.dim, prototypes=recipe.prototypes, hidden=recipe.hidden, bottleneck=recipe.bottleneck)
        self.teacher = Teacher(backbone, self.head)
        self.register_buffer("centre", torch.zeros(recipe.prototypes))
        self.register_buffer("seen", torch.zeros(recipe.prototypes), persistent=False)  # sum of the iteration's mean answers
        self._many = 0  # of those
        self._done, self._total = 0, 1

    def forward(self, images: Tensor, cls: Tensor, parts: Tensor) -> dict[str, Tensor]:
        """The losses, weighted.

        Args:
            images: (2B,3,H,W) the two large views, whole: the teacher's.
            cls: (2B,D) of what the student saw of them.
            parts: ((V-2)B,D) cls of the small views, view by view.
        """
        truth = self.teacher(images)
        if self.training:
            self.seen += truth.mean(0)
            self._many += 1
        answers = self.head(torch.cat([cls, parts])).unflatten(0, (-1, len(cls) // 2))  # (V,B,K)
        target = sharpened(truth, self.centre, self.recipe.sharper_at(self._done)).unflatten(0, (2, -1))
        spread = torch.stack([koleo(view) for view in cls.chunk(2)]).mean()  # two views of a picture may be near
        return {
            "loss/distil/cls": self.recipe.weight * agreement(answers, target, self.recipe.sharp),
            "loss/distil/koleo": self.recipe.apart * spread,
        }

    def begin(self, backbone: ViT, done: int, total: int) -> None:
        """Before an iteration; before the first, when the student has what it starts from, the teacher becomes its copy."""
        self._done, self._total = done, total
        self._forget()
        if not done:
            self.teacher.follow(backbone, self.head, 0)

    @torch.no_grad()
    def end(self, backbone: ViT, *, taken: bool) -> None:
        """After an iteration, if its step was taken: the centre moves to what the teacher said, the teacher to the student."""
        if taken and self._many:
            keep = self.recipe.centring
            self.centre.mul_(keep).add_(averaged(self.seen / self._many), alpha=1 - keep)
            self.teacher.follow(backbone, self.head, self.recipe.momentum_at(self._done, self._total))
        self._forget()

    def _forget(self) -> None:
        """What the teacher said in the last iteration."""
        self.seen.zero_()
        self._many = 0


def cls_of(backbone: ViT, image: Tensor) -> Tensor:
    """(B,3,H,W) normalised -> the cls token (B,D) after the final norm."""
    return backbone.encode(*backbone.embed(image))[:, 0]


def sharpened(truth: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """The teacher's answers (B,K), less their centre (K,), as probabilities."""
    return ((truth.float() - centre) / temperature).softmax(1)


def agreement(answers: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of every view with every large one but itself, the mean over pairs and pictures.

    Args:
        answers: (V,B,K) of the student; the first views are those of `target`.
        target: (T,B,K) probabilities of the teacher.
        temperature: of the answers.
    """
    told = (answers.float() / temperature).log_softmax(2)
    pairs = [(t, v) for t in range(len(target)) for v in range(len(told)) if v != t]
    return torch.stack([-(target[t] * told[v]).sum(1).mean() for t, v in pairs]).mean()
