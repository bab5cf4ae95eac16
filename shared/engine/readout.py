"""What can be read out of features without training them: votes of the nearest, and a linear map in closed form.

Everything is a function of its arguments alone: nothing is drawn, and nothing is tuned. Letters: N patches, D width of a feature,
T numbers of a target, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

NEAREST, TEMPERATURE = 20, 0.07  # of votes; Caron et al. 2021 (DINO), appendix
FOLDS = 5  # shares of the photos, each of which is held out once
RIDGE = 0.1  # what is added to the variance of a feature, as a share of it
CHUNK = 512  # patches that are compared with all others at a time


def vote(features: Tensor, labels: Tensor, photo: Tensor, *, classes: int) -> Tensor:
    """The class of each patch as its NEAREST among the patches of other photos say (N,): each votes with exp(cosine / TEMPERATURE).

    Args:
        features: (N,D) float32.
        labels: (N,) int64, 0 to classes - 1.
        photo: (N,) int64, from which photo a patch is.
        classes: K.
    """
    unit = F.normalize(features, dim=1)
    one_hot = F.one_hot(labels, classes).to(unit.dtype)
    answers = []
    for some, where in zip(unit.split(CHUNK), photo.split(CHUNK)):
        near = (some @ unit.T).masked_fill(where[:, None] == photo, -torch.inf)
        likeness, at = near.topk(min(NEAREST, len(unit)), 1)  # those of the same photo weigh exp(-inf), nothing
        weight = ((likeness - likeness[:, :1]) / TEMPERATURE).exp().nan_to_num(0)
        answers.append((weight[..., None] * one_hot[at]).sum(1).argmax(1))
    return torch.cat(answers)


def linear(features: Tensor, target: Tensor, fold: Tensor) -> Tensor:
    """What a ridge regression answers for each patch (N,T) float64, fitted to the patches of all other folds.

    Features count by their deviation, not by their size. The sums of all folds are taken once, and each fold's own taken off again.

    Args:
        features: (N,D).
        target: (N,T).
        fold: (N,) int64, FOLDS at most.
    """
    middle = features.double().mean(0)
    sums = []
    folds = fold.unique().tolist()
    for held in folds:
        x, y = features[fold == held].double() - middle, target[fold == held].double()
        sums.append([torch.tensor(len(x), dtype=x.dtype, device=x.device), x.sum(0), y.sum(0), x.T @ x, x.T @ y])
    answers = torch.zeros(target.shape, dtype=torch.float64, device=features.device)
    for held, own in zip(folds, sums):
        n, x, y, xx, xy = (sum(parts) - part for parts, part in zip(zip(*sums), own, strict=True))
        x, y = x / n, y / n
        slope = _solved(xx / n - x.outer(x), xy / n - x.outer(y))
        answers[fold == held] = (features[fold == held].double() - middle - x) @ slope + y
    return answers


def _solved(covariance: Tensor, with_target: Tensor) -> Tensor:
    """(D,D), (D,T) -> the slope (D,T); a feature that never changes has none."""
    deviation = covariance.diagonal().clamp(min=0).sqrt()
    scale = torch.where(deviation > 1e-9 * deviation.max().clamp(min=1e-30), 1 / deviation, 0)
    correlation = covariance * scale[:, None] * scale
    correlation.diagonal().copy_(torch.ones_like(scale))
    factor = torch.linalg.cholesky(correlation + RIDGE * torch.eye(len(scale), dtype=scale.dtype, device=scale.device))
    return torch.cholesky_solve(with_target * scale[:, None], factor) * scale[:, None]


def overlap(answer: Tensor, truth: Tensor, *, classes: int) -> dict[str, float]:
    """`miou`, mean over the classes that are there, and `acc`, the share that is right; of class ids (N,)."""
    confusion = torch.bincount(truth * classes + answer, minlength=classes**2).view(classes, classes).double()
    both, there = confusion.diagonal(), confusion.sum(1)
    either = there + confusion.sum(0) - both
    return {"miou": (both / either)[there > 0].mean().item(), "acc": (both.sum() / there.sum()).item()}


def explained(answer: Tensor, truth: Tensor) -> float:
    """R^2 of numbers (N,): the share of their spread that is answered; 0 for the mean, below 0 for worse."""
    truth = truth.double()
    spread = ((truth - truth.mean()) ** 2).sum()
    return (1 - ((truth - answer) ** 2).sum() / spread).item()


def turned_by(answer: Tensor, truth: Tensor) -> float:
    """Mean angle between directions (N,3), degrees."""
    cosine = (F.normalize(answer.double(), dim=1) * F.normalize(truth.double(), dim=1)).sum(1)
    return torch.rad2deg(cosine.clamp(-1, 1).acos()).mean().item()
