"""Parts, depth and normals have a config of every size and vocabulary, with the numbers that were published."""

from pathlib import Path

import numpy as np
import pytest

from shared.build import build
from shared.data.view import View
from shared.engine.config import load

ROOT = Path(__file__).parents[1]
SIZES = ("300m", "600m", "1b", "2b")
KINDS = {  # file -> task, channels, and how views stray: least and most of the factor, degrees, largest share of a class
    "seg/humans": ("Seg", 28, (0.2, 2.0), 45.0, 0.75),
    "seg/humans29": ("Seg", 29, (0.4, 2.0), 60.0, 0.75),
    "seg/lip": ("Seg", 20, (0.75, 1.25), 45.0, 0.75),
    "seg/cihp": ("Seg", 20, (0.75, 1.25), 45.0, 0.75),
    "depth/humans": ("Depth", 1, (0.2, 2.0), 60.0, 1.0),
    "depth/humans_metric": ("Depth", 1, (0.2, 2.0), 60.0, 1.0),
    "normal/humans": ("Normal", 3, (0.2, 2.0), 0.0, 1.0),
}
CLASSES = {"humans": "sapiens28", "humans29": "sapiens29", "lip": "lip20", "cihp": "cihp20"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_size_and_vocabulary_has_its_config_with_the_published_numbers(kind, size):
    """Specification of the official code, sections 4 to 6 and 8, and of Sapiens2, section 2.2."""
    name, channels, scale, degrees, largest = KINDS[kind]
    tree = load(ROOT / f"configs/{kind}_{size}.py")
    (task,) = build(tree["tasks"])
    assert (type(task).__name__, task.channels) == (name, channels)
    assert tree["backbone"]["size"] == size
    assert tuple(tree["backbone"]["image_hw"]) == (1024, 768)
    assert tree["decoder"] is None, "the official head"
    assert (tree["lr"], tree["layer_decay"], tree["weight_decay"], tree["warmup"], tree["clip"]) == (5e-4, 0.85, 0.1, 400, 1.0)
    assert tree["schedule"] == ("cosine" if kind == "seg/lip" else "linear")
    jitter = build(tree["jitter"])
    assert (tuple(jitter.scale), jitter.degrees, jitter.turned, jitter.flip, jitter.largest) == (scale, degrees, 0.5, 0.5, largest)
    assert jitter.even
    folder, data = kind.split("/")
    assert folder != "seg" or task.labels == CLASSES[data]
    assert getattr(task, "metric", None) == {"depth/humans": False, "depth/humans_metric": True}.get(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_differ_in_the_backbone_alone(kind):
    first, *others = (load(ROOT / f"configs/{kind}_{size}.py") for size in SIZES)
    for other in others:
        assert {key for key in first if first[key] != other[key]} == {"backbone", "init", "work_dir"}


def test_at_twice_the_size_views_reach_every_corner_of_the_picture():
    jitter, plain = build(load(ROOT / "configs/seg/humans_1b.py")["jitter"]), View.whole((64, 48), (64, 48))
    seen = [view for seed in range(2000) if (view := jitter(plain, np.random.default_rng(seed))).scale > 1.8]
    corners = [view.to_source(np.array([[0, 0], [47, 63]])) for view in seen]
    assert min(np.abs(c[0]).max() for c in corners) < 4
    assert min(np.abs(c[1] - [47, 63]).max() for c in corners) < 4


def test_the_second_generation_has_its_published_views():
    for kind, scale, degrees, flip in (("seg", (0.4, 2.0), 60.0, 0.5), ("normal", (0.5, 2.0), 0.0, 0.3)):
        for size in ("400m", "800m", "1b", "5b"):
            tree = load(ROOT / f"configs/{kind}/humans_v2_{size}.py")
            jitter = build(tree["jitter"])
            assert (tuple(jitter.scale), jitter.degrees, jitter.flip) == (scale, degrees, flip)
            assert tree["schedule"] == "linear"
