"""Balancing of tasks that share a backbone: how much each counts, by rules that see losses or gradients by name and no more."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.build import build, named
from shared.dense.balance.balancer import Balancer
from shared.dense.balance.learnt import GradNorm, Uncertainty
from shared.dense.balance.rule import Steering, Weighing
from shared.dense.balance.scale import DynamicAverage, LossMean, ScaleMatch
from shared.dense.balance.schedule import Fixed, Staged
from shared.dense.balance.surgery import MGDA, CAGrad, PCGrad

__all__ = [
    "MGDA",
    "Balancer",
    "CAGrad",
    "DynamicAverage",
    "Fixed",
    "GradNorm",
    "LossMean",
    "PCGrad",
    "ScaleMatch",
    "Staged",
    "Uncertainty",
    "balancer",
]

RULES = {  # by a short name, with their own numbers; Staged has none
    "fixed": Fixed,
    "uncertainty": Uncertainty,
    "gradnorm": GradNorm,
    "dwa": DynamicAverage,
    "lossmean": LossMean,
    "scalematch": ScaleMatch,
    "pcgrad": PCGrad,
    "cagrad": CAGrad,
    "mgda": MGDA,
}


def balancer(rule: str | Mapping[str, Any] | None, tasks: Sequence[str], *, seed: int = 0, compare: bool = False) -> Balancer:
    """What a config's `balance` describes.

    Args:
        rule: a name of `RULES`, dict(type=class, **options), or None: fixed weights.
        tasks: names of the tasks, in the order of the model.
        seed: of random decisions.
        compare: tell norms and cosines of the tasks' gradients.

    Raises:
        ValueError: no such rule, or options that it does not take.
    """
    rule = rule or "fixed"
    if isinstance(rule, str):
        if rule not in RULES:
            known = ", ".join(RULES)
            raise ValueError(f"there is no balance {rule!r}; choose one of {known}, or dict(type=a class of shared.dense.balance)")
        rule = {"type": RULES[rule]}
    kind = rule.get("type")
    kind = named(kind) if isinstance(kind, str) else kind
    if not (isinstance(kind, type) and issubclass(kind, Weighing | Steering)):
        raise ValueError(f"balance={dict(rule)} is no rule; give dict(type=a class of shared.dense.balance, its options)")
    return Balancer(build(rule, tasks=tuple(tasks)), seed=seed, compare=compare)
