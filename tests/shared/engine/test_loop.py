"""Iterations: a restart begins at the next sample, the same seed gives the same weights, and every setting of a run matters."""

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import Dataset

from shared import checkpoint
from shared.engine.launch import train
from shared.engine.loop import Loader
from shared.engine.session import Session

CPU = torch.device("cpu")


class Numbers(Dataset):
    """Sample p is p."""

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, position: int) -> int:
        return position


def dealt(start: int, stop: int, *, batch: int = 3, accumulate: int = 2, workers: int = 0, rank: int = 0, processes: int = 1):
    loader = Loader(Numbers(), batch=batch, accumulate=accumulate, workers=workers, session=Session(CPU, rank, processes))
    return [batch.tolist() for batch in loader.between(start, stop)]


def test_a_restart_begins_at_the_next_sample():
    assert dealt(0, 5)[:2] == [[0, 1, 2], [3, 4, 5]]
    assert dealt(2, 5) == dealt(0, 5)[4:]
    assert dealt(5, 5) == []


def test_two_processes_see_together_what_one_sees():
    halves = [dealt(1, 4, batch=2, rank=rank, processes=2) for rank in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == dealt(1, 4, batch=4)


@pytest.fixture(scope="module")
def plain(tiny, tmp_path_factory):
    """The weights of a plain short run."""
    return load_file(train(tiny("seg", tmp_path_factory.mktemp("plain"))))


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_same_seed_gives_the_same_weights(tiny, tmp_path, plain):
    assert same(load_file(train(tiny("seg", tmp_path / "again"))), plain)


def test_validating_saving_and_drawing_change_nothing(tiny, tmp_path, plain, small_shards):
    watched = tiny("seg", tmp_path / "seg", f"val={{'shards': '{small_shards}', 'limit': 2}}", "val_every=1", "preview=1")
    watched |= {"save_every": 1, "log_every": 1, "keep": 1}
    assert same(load_file(train(watched)), plain)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "batch=1",
        "accumulate=2",
        "iters=2",
        "lr=2e-3",
        "weight_decay=0.9",
        "layer_decay=0.3",
        "betas=(0.5,0.9)",
        "warmup=2",
        "optimizer=adamw",
        "schedule=constant",
        "schedule=linear",
        "schedule=steps",
        "clip=1e-9",
        "ema=0.5",
        "precision=bf16",
        "framing=boxes",
        "jitter=None",
        "photometric=None",
        "occlusion={'type': 'shared.data.occlusion.Occlusion'}",
        "jitter.degrees=1.0",
        "decoder.dropout=0.5",
        "backbone.drop_path=0.9",
        "weights={'seg': 3.0}",
        "tasks.0.dice=1.0",
        "tasks.0.weighted=False",
    ],
)
def test_every_setting_changes_the_weights(tiny, tmp_path, plain, override):
    changed = load_file(train(tiny("seg", tmp_path / "seg", override)))
    assert all(tensor.isfinite().all() for tensor in changed.values())
    assert not same(changed, plain)


def test_half_bodies_change_the_weights_of_pose_and_mean_nothing_without_points(tiny, tmp_path):
    halves = "half_body={'type': 'shared.data.half.HalfBody', 'probability': 1.0}"
    ends = [load_file(train(tiny("pose", tmp_path / str(i), *more))) for i, more in enumerate((("iters=1",), ("iters=1", halves)))]
    assert not same(*ends)
    with pytest.raises(ValueError, match="half_body needs a task with keypoints"):
        train(tiny("seg", tmp_path / "seg", halves))


@pytest.mark.parametrize("way", ["True", "selective"])
def test_recomputing_activations_changes_nothing_but_memory(tiny, tmp_path, plain, way):
    changed = load_file(train(tiny("seg", tmp_path / "seg", f"backbone.recompute={way}")))
    assert all(torch.allclose(changed[name], plain[name], atol=1e-5) for name in plain)


@pytest.mark.parametrize("name", ["pretrain", "joint"])
def test_two_batches_of_four_are_one_of_eight(tiny, tmp_path, name):
    """Where every micro-batch has as many labels as the other."""
    ends = []
    for batch, accumulate in ((8, 1), (4, 2)):
        config = tiny(name, tmp_path / str(batch), f"batch={batch}", f"accumulate={accumulate}", "jitter=None")
        if name == "joint":
            config |= {"tasks": config["tasks"][:2], "weights": {}}  # parts and depth: known in every picture
        ends.append(checkpoint.load(train(config)).model)
    one, two = (model.state_dict() for model in ends)
    # Adam divides by the size of the gradient, so that rounding grows where the gradient is nothing but rounding.
    close = torch.cat([((one[k] - two[k]).abs() < 1e-5).flatten() for k in one])
    assert close.float().mean() > 0.99
    assert max(float((one[k] - two[k]).abs().max()) for k in one) < 2 * 3 * 1e-3


def test_averaged_weights_are_the_average_by_hand(tiny, tmp_path):
    raw = train(tiny("seg", tmp_path / "raw", "save_every=1", "keep=9")).parent
    steps = [
        torch.load(raw / f"iter_{n}.pth", weights_only=True)["state_dict"]["model.decoders.seg.last.weight"] for n in (1, 2, 3)
    ]
    by_hand = steps[0]
    for step in steps[1:]:
        by_hand = 0.8 * by_hand + 0.2 * step
    path = train(tiny("seg", tmp_path / "ema", "ema=0.8"))
    assert torch.allclose(load_file(path)["decoders.seg.last.weight"], by_hand, atol=1e-7)
    assert not torch.allclose(by_hand, steps[-1], atol=1e-7)


def test_a_clipped_gradient_moves_weights_less(tiny, tmp_path, plain):
    start = load_file(train(tiny("seg", tmp_path / "start", "lr=0.0")))
    clipped = load_file(train(tiny("seg", tmp_path / "clipped", "clip=1e-10", "weight_decay=0.0")))
    name = "decoders.seg.last.weight"
    assert (clipped[name] - start[name]).norm() < 0.1 * (plain[name] - start[name]).norm()


def test_bf16_is_close_to_full_precision(tiny, tmp_path, plain):
    half = load_file(train(tiny("seg", tmp_path / "half", "precision=bf16")))
    assert all(tensor.dtype == torch.float32 for tensor in half.values())
    assert all((half[name] - plain[name]).abs().max() < 2 * 3 * 1e-3 for name in plain)
