"""Our training steps against loops by hand of equal models, and against transformers' ViTMAE, in turn on the same thread.

Five minutes: .venv/bin/python -m pytest tests/bench/test_training_speed.py -m slow -s
"""

import statistics

import pytest
import torch
from training import Setup, in_turn, ours, plain, ratios, transformers

SMALL = Setup({"dim": 384, "depth": 6, "heads": 6}, (224, 224), 8, torch.device("cpu"), None, decoder=(192, 2, 6), head=(96, 96))
pytestmark = pytest.mark.timeout(1800)
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}
ROUNDS = 7


def compared(setup: Setup, kind: str, makers) -> dict[str, float]:
    made = {maker.__name__: maker(setup, kind) for maker in makers}
    numbers = {name: sum(p.numel() for p in model.parameters() if p.requires_grad) for name, (_, model) in made.items()}
    assert max(numbers.values()) < 1.002 * min(numbers.values()), "the models are equal"
    found = in_turn({name: step for name, (step, _) in made.items()}, rounds=ROUNDS, device=setup.device)
    told = ratios(found)
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        beside = f", {told[name]:.2f} of ours" if name in told else ""
        print(f"  {name:12} {middle:6.3f} s, {setup.batch / middle:6.1f} images/s{beside}")
    return told


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_step_of_pretraining_is_at_least_as_fast_as_a_loop_by_hand_and_as_transformers(precision):
    """Of transformers 1.3 times is the aim; on a processor nearly all is the same matrix products, and 1.14 was measured."""
    torch.set_num_threads(1)
    print(f"\nMAE, {precision}")
    told = compared(SMALL._replace(dtype=PRECISIONS[precision]), "mae", (ours, plain, transformers))
    assert told["plain"] >= 1
    assert told["transformers"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_step_of_fine_tuning_is_as_fast_as_a_loop_by_hand(precision):
    torch.set_num_threads(1)
    print(f"\nfine-tuning, {precision}")
    told = compared(SMALL._replace(dtype=PRECISIONS[precision], batch=4), "seg", (ours, plain))
    assert told["plain"] >= 1
