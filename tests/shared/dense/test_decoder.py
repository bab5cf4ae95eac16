"""The upsampling stack: every official head from the official weights, and every number of a row means something."""

import inspect
from dataclasses import fields, replace

import pytest
import torch

from shared.dense.decoder import DENSE, DEPTH, HEATMAP, Decoder, Spec

SMALL = Spec(up=(8, 8), refine=(8,))


def features(dim=16, hw=(4, 3), seed=0):
    return torch.randn(2, dim, *hw, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "channels", "spec"),
    [
        ("heatmap_head", 5, Spec((24, 24), (24, 24))),
        ("vit_head", 7, Spec((24, 24, 24), (24, 24, 24), dropout=0.1)),
        ("vit_normal_head", 3, Spec((24, 24, 24), (24, 24, 24), dropout=0.1)),
        ("vit_depth_head", 1, Spec((12, 12, 12, 12), (12, 12), dropout=0.1)),
    ],
)
def test_an_official_head_is_a_row_of_numbers(golden, name, channels, spec):
    decoder = Decoder(32, channels, spec).eval()
    decoder.load_state_dict(golden.state(golden[name]["state"]))
    assert golden.agrees(decoder(golden.wave((1, 32, 4, 3), 0.07)), golden[name]["out"])


@pytest.mark.parametrize(("spec", "stride"), [(HEATMAP, 4), (DENSE, 2), (DEPTH, 1)])
def test_the_rows_give_the_official_resolutions(spec, stride):
    with torch.device("meta"):
        raw = Decoder(1024, 3, spec)(torch.empty(1, 1024, 64, 48))
    assert raw.shape == (1, 3, 1024 // stride, 768 // stride)


@pytest.mark.parametrize("ups", range(5))
def test_each_doubling_doubles(ups):
    assert Decoder(16, 3, Spec((4,) * ups, ()))(features(hw=(5, 4))).shape == (2, 3, 5 * 2**ups, 4 * 2**ups)


CHANGES = {"up": (8, 4), "refine": (8, 8), "dropout": 0.5}


@pytest.mark.parametrize("field", [f.name for f in fields(Spec)])
def test_every_number_of_a_row_changes_the_answer(field):
    answers = []
    for spec in (SMALL, replace(SMALL, **{field: CHANGES[field]})):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            answers.append(Decoder(16, 3, spec, std=1.0).train()(features()))
    assert not torch.equal(*answers)


ARGUMENTS = {"dim": 8, "channels": 5, "spec": DENSE, "bias": 0.5, "std": 1.0}


@pytest.mark.parametrize("argument", list(inspect.signature(Decoder).parameters))
def test_every_argument_changes_the_weights(argument):
    options = {"dim": 16, "channels": 3, "spec": SMALL}
    states = []
    for made in (options, {**options, argument: ARGUMENTS[argument]}):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            states.append(Decoder(**made).state_dict())
    first, second = ([(name, t.shape, t.double().sum().item()) for name, t in state.items()] for state in states)
    assert first != second


def test_a_new_decoder_answers_its_bias():
    raw = Decoder(16, 3, SMALL, bias=0.5, std=1e-6)(features())
    torch.testing.assert_close(raw, torch.full_like(raw, 0.5), atol=1e-4, rtol=0)


def test_dropout_is_for_training_only():
    decoder = Decoder(16, 3, replace(SMALL, dropout=0.5), std=1.0).eval()
    assert torch.equal(decoder(features()), decoder(features()))


def test_a_picture_does_not_depend_on_its_batch():
    decoder = Decoder(16, 3, SMALL, std=1.0).train()  # InstanceNorm: no statistics of others, also in training
    both = decoder(features())
    torch.testing.assert_close(both[:1], decoder(features()[:1]), atol=1e-5, rtol=1e-5)


def test_nothing_of_a_norm_is_in_the_weights():
    assert all(name.endswith(("0.weight", "0.bias", "last.weight", "last.bias")) for name in Decoder(16, 3, SMALL).state_dict())
