"""Strips answer what the layers answer, in the memory of one map."""

import weakref
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from shared.dense import decoder as rows
from shared.dense import strips
from shared.dense.decoder import Decoder, Spec
from shared.dense.products import Scratch

NARROW = 64  # times narrower than the official rows
SPECS = {name: spec for name, spec in vars(rows).items() if isinstance(spec, Spec)}
SPECS = {
    name: replace(
        spec,
        up=tuple(n // NARROW for n in spec.up),
        refine=tuple(max(n // NARROW, 1) for n in spec.refine),
        scale=spec.scale and {"convs": (6, 4), "hidden": (5,), "grid": (2, 1)},
    )
    for name, spec in SPECS.items()
}
SPECS |= {
    "maps that shrink and grow": Spec(up=(3, 20), refine=(1, 30, 2)),
    "3x3 that shrink and grow": Spec(up=(3, 5), refine=(1, 9, 2), shuffle=True),
    "no doubling": Spec(up=(), refine=(5,)),
    "nothing but a doubling": Spec(up=(5,), refine=()),
}


@pytest.fixture
def always(monkeypatch):
    """Strips of few places, and for maps of all sizes."""
    monkeypatch.setattr(strips, "LEAST", 0)
    monkeypatch.setattr(strips, "PLACES", 40)


def head(spec, dim=16, dtype=torch.float32):
    torch.manual_seed(0)
    decoder = Decoder(dim, 4, spec, std=0.3).eval().to(dtype)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return decoder


def features(hw, dim=16, batch=2, dtype=torch.float32):
    return torch.randn(batch, dim, *hw, generator=torch.Generator().manual_seed(1), dtype=dtype)


def by_layers(decoder, x):
    """The answer of the way of small maps."""
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(strips, "LEAST", 10**12)
        return decoder(x)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("hw", [(1, 1), (1, 5), (5, 1), (4, 3), (7, 6)])
@pytest.mark.parametrize("name", SPECS)
def test_strips_answer_what_the_layers_answer(name, hw):
    for dtype, near in ((torch.float64, 1e-11), (torch.float32, 2e-5)):
        decoder, x = head(SPECS[name], dtype=dtype), features(hw, dtype=dtype)
        with torch.no_grad():
            found = decoder(x)
        told = by_layers(decoder, x)
        assert found.dtype == told.dtype
        assert (found - told).abs().max() <= near * told.abs().max()


@pytest.mark.parametrize("places", [1, 7, 10_000])
def test_how_high_strips_are_changes_nothing(monkeypatch, places):
    monkeypatch.setattr(strips, "LEAST", 0)
    monkeypatch.setattr(strips, "PLACES", places)
    decoder, x = head(SPECS["DEPTH"], dtype=torch.float64), features((9, 4), dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(decoder(x), by_layers(decoder, x), atol=1e-11, rtol=0)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", ["DENSE", "POINTMAP"])
def test_bfloat16_strips_are_as_exact_as_bfloat16_layers(name):
    decoder, x = head(SPECS[name]), features((12, 9))
    exact = by_layers(decoder, x)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found, layers = decoder(x), by_layers(decoder, x)
    assert found.dtype == layers.dtype == (torch.float32 if decoder.precise else torch.bfloat16)
    assert 0 < (found - exact).square().mean() < 1.1 * (layers - exact).square().mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (300, 1), (3, 20)])
def test_statistics_of_strips_are_those_of_the_map(mean, deviation, dtype):
    shifts = torch.linspace(-1, 1, 64)[:, None, None]  # from top to bottom
    maps = ((torch.randn(64, 50, 3, generator=torch.Generator().manual_seed(0)) + shifts) * deviation + mean).to(dtype)
    found = strips.Statistics(Scratch())
    for part in maps.split([1, 40, 20, 3]):
        found.add(part)
    norm = found.norm()
    variance, middle = torch.var_mean(maps.double(), (0, 1), correction=0)
    torch.testing.assert_close(norm.mean.double(), middle, atol=1e-6 * (abs(mean) + deviation), rtol=0)
    torch.testing.assert_close(norm.scale.double(), (variance + 1e-5).rsqrt(), atol=0, rtol=1e-5)


class Alive(TorchDispatchMode):
    """Bytes of all that is made in it and not yet gone, and their peak."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self.seen:
                storage = tensor.untyped_storage()
                self.seen.add(storage._cdata)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return made

    def _gone(self, key, size):
        self.seen.discard(key)
        self.now -= size


def peak(decoder, x):
    with torch.no_grad(), Alive() as alive:
        decoder(x)
    return alive.peak


@pytest.mark.parametrize("spec", [Spec((16,) * 3, (16,) * 2), Spec((16,) * 3, (12, 4), shuffle=True)])
@pytest.mark.parametrize("batch", [1, 3])
def test_one_map_is_in_memory_and_no_second_one(monkeypatch, spec, batch):
    decoder, x = head(spec), features((28, 20), batch=batch)
    largest = 16 * 28 * 20 * 64 * 4
    answers = batch * largest // 4
    monkeypatch.setattr(strips, "PLACES", 320)
    by_layer = peak(decoder, x)
    monkeypatch.setattr(strips, "LEAST", 0)
    assert largest < peak(decoder, x) - answers < 1.4 * largest
    assert by_layer > 1.9 * largest * batch, "this measure sees two maps where there are two"


def test_maps_of_the_official_heads_need_the_room_of_the_largest():
    for name in ("DENSE", "DEPTH", "HEATMAP", "SEG_V2", "NORMAL_V2", "HEATMAP_V2_1B", "POINTMAP_5B"):
        with torch.device("meta"):
            decoder = Decoder(1024, 4, getattr(rows, name))
            steps = [step for step in (decoder.stem, *decoder.up, *decoder.refine) if any(step.children())]
            shapes = strips.shapes(steps, (64, 48))
            maps = strips._in_one_room(shapes, torch.float32)
        room = maps[0].untyped_storage().nbytes()
        assert room == max(h * w * n for h, w, n in shapes) * 4


def test_who_learns_drops_or_asks_for_little_goes_by_layers(monkeypatch):
    asked = []
    monkeypatch.setattr(strips, "decoded", lambda *_, **__: asked.append("strips") or torch.zeros(1))
    decoder, x = head(replace(SPECS["DENSE"], dropout=0.5)), features((4, 3))
    with torch.no_grad():
        decoder(x)  # a small map
    monkeypatch.setattr(strips, "LEAST", 0)
    decoder(x)  # gradients
    with torch.no_grad():
        decoder.train()(x)  # dropout
        assert not asked
        decoder.eval()(x)
    assert asked


@pytest.mark.usefixtures("always")
def test_what_is_exported_has_the_layers():
    decoder, x = head(SPECS["DENSE"]), features((4, 3))
    with torch.no_grad():
        exported = torch.export.export(decoder, (x,))
        assert sum("conv" in str(node.target) for node in exported.graph.nodes) == 7
        torch.testing.assert_close(exported.module()(x), decoder(x), atol=1e-4, rtol=1e-4)
