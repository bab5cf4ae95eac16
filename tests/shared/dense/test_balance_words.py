"""Rules of balancing by their names, and the sentences for what is none."""

import pytest

from shared.build import build
from shared.dense.balance import (
    MGDA,
    CAGrad,
    DynamicAverage,
    Fixed,
    GradNorm,
    LossMean,
    PCGrad,
    ScaleMatch,
    Staged,
    Uncertainty,
    balancer,
)

TWO = ("a", "b")
RULES = [Fixed, Uncertainty, GradNorm, DynamicAverage, LossMean, ScaleMatch, PCGrad, CAGrad, MGDA]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("gradnrm", "no balance 'gradnrm'; choose one of fixed, uncertainty"),
        ({"type": Staged, "stages": []}, "give shares of the training that rise"),
        ({"type": Staged, "stages": [{"at": 0.5, "weights": {}}, {"at": 0.1, "weights": {}}]}, r"stages stand at \[0.5, 0.1\]"),
        ({"type": Staged, "stages": [{"at": 0, "weights": {"face": 1}}]}, "stages names face, but the tasks are a, b"),
        ({"type": Staged, "stages": [{"at": 0, "weights": {"a": -1}}]}, "a weight is at least 0"),
        ({"type": LossMean, "decay": 1.0}, "decay=1.0 is no decay"),
        ({"type": ScaleMatch, "main": "face"}, "main names face"),
        ({"type": ScaleMatch, "limit": 0.0}, "limit=0.0 leaves no weight"),
        ({"type": DynamicAverage, "window": 0}, "have to be more than 0"),
        ({"type": Uncertainty, "classified": ["face"]}, "classified names face"),
        ({"type": Uncertainty, "rate": 0.0}, "rate=0.0 learns nothing"),
        ({"type": Uncertainty, "limit": 0.0}, "leaves no variance"),
        ({"type": GradNorm, "alpha": -1.0}, "alpha=-1.0 favours what is fast already"),
        ({"type": GradNorm, "where": "first"}, "no place 'first'; choose features, last or trunk"),
        ({"type": PCGrad, "where": "last"}, "no place 'last'; choose features or trunk"),
        ({"type": CAGrad, "c": 1.0}, "c=1.0 is no radius"),
        ({"type": MGDA, "normalise": "l1"}, "no normalisation 'l1'"),
        ({"type": "tasks.seg.task.Seg"}, "is no rule; give dict"),
        ({"alpha": 1.0}, "is no rule; give dict"),
    ],
)
def test_what_cannot_be_is_a_sentence(rule, told):
    with pytest.raises(ValueError, match=told):
        balancer(rule, TWO)


@pytest.mark.parametrize("kind", RULES)
def test_a_rule_has_a_short_name_and_a_description(kind):
    names = {"fixed", "uncertainty", "gradnorm", "dwa", "lossmean", "scalematch", "pcgrad", "cagrad", "mgda"}
    assert kind in {type(balancer(name, TWO).rule) for name in names}
    assert isinstance(build({"type": kind}, tasks=TWO), kind)
