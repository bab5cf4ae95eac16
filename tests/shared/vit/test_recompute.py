"""What is computed again changes memory and arithmetic, and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from shared.vit.model import ViT

SIZES: dict[str, Any] = {
    "sapiens": {"dim": 32, "depth": 4, "heads": 2},
    "sapiens2": {"dim": 32, "depth": 4, "heads": 2, "family": "sapiens2"},
}
WAYS = (0, 4, 2, 1, "selective")


def made(recompute: Any, family: str = "sapiens", **options: Any) -> ViT:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ViT(SIZES[family], image_hw=(128, 128), recompute=recompute, **options).train()


def picture() -> Tensor:
    return torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def gradients(model: ViT, *, half: bool = False) -> list[Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            features = model(picture())
        features.float().square().mean().backward()
    return [features.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


class Living(TorchDispatchMode):
    """Every storage that was made while this was entered, without keeping any of them alive; those of `apart` were there before."""

    def __init__(self, *apart: Tensor) -> None:
        super().__init__()
        self.apart = {tensor.untyped_storage()._cdata for tensor in apart}
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        for part in answer if isinstance(answer, tuple | list) else (answer,):
            if isinstance(part, Tensor):
                storage = part.untyped_storage()
                if storage._cdata not in self.apart:
                    self.made[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return answer

    @property
    def bytes(self) -> int:
        return sum(size for reference, size in self.made.values() if not reference.expired())


def kept(recompute: Any) -> int:
    """Bytes that are still there after the blocks, wherever they are kept."""
    model = made(recompute)
    tokens, grid = model.embed(picture())
    with Living(*model.parameters(), *model.buffers(), tokens) as living:
        encoded = model.encode(tokens, grid)
    assert encoded.requires_grad
    return living.bytes


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("family", SIZES)
@pytest.mark.parametrize("recompute", [way for way in WAYS if way != 0] + [True])
def test_features_and_gradients_stay_the_same_bit_for_bit(family, recompute, half):
    """Also where blocks are left out by chance."""
    plain, again = (gradients(made(way, family, drop_path=0.5), half=half) for way in (0, recompute))
    assert len(plain) == len(again) > 40
    assert all(torch.equal(a, b) for a, b in zip(plain, again))


def test_memory_falls_from_nothing_to_some_to_all():
    none, fourth, second, all_of_them, selective = (kept(way) for way in WAYS)
    assert none > 1.15 * fourth > 1.3 * second > 2 * all_of_them, (none, fourth, second, all_of_them)
    assert 0.5 * none < selective < 0.8 * none
    assert all_of_them < 0.2 * none


def test_selective_repeats_no_product_and_all_repeats_every_one():
    def flops(recompute: Any) -> int:
        features = made(recompute)(picture())
        with FlopCounterMode(display=False) as backward:
            features.sum().backward()
        return backward.get_total_flops()

    none, selective, all_of_them = (flops(way) for way in (0, "selective", 1))
    assert selective == none
    tokens, dim = 2 * 64, 32
    assert all_of_them == none + 4 * (3 + 1 + 4) * 2 * tokens * dim**2  # of the last product, nothing that is kept depends


def test_nothing_is_kept_or_repeated_outside_of_training():
    model, image = made("selective").eval(), picture()
    with torch.no_grad(), Living(*model.parameters(), *model.buffers(), image) as living:
        features = model(image)
    assert living.bytes == features.untyped_storage().nbytes()


@pytest.mark.parametrize("recompute", [-1, 5, 1.5, "some", None])
def test_what_is_no_way_to_recompute_is_a_sentence(recompute):
    with pytest.raises(ValueError, match="is no way to recompute 4 blocks; choose 0 for none, k for every k-th, 1 for all of them"):
        made(recompute)
