"""What is added to a backbone that stands still: nothing at first, and in the end it is in the weights."""

import pytest
import torch

from shared.vit.frozen import freeze
from shared.vit.lora import Adapted, adapt, merge
from shared.vit.model import ViT

TINY = {"dim": 32, "depth": 3, "heads": 2}
FAMILIES = ["sapiens", "sapiens2", "dinov3"]


def made(family: str = "sapiens") -> ViT:
    torch.manual_seed(0)
    backbone = ViT({**TINY, "family": family}, image_hw=(32, 32)).eval()
    for name, parameter in backbone.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.ones_(parameter)  # else blocks of some families say next to nothing
    return backbone


@pytest.mark.parametrize("family", FAMILIES)
def test_at_first_nothing_is_added(family):
    image = torch.randn(2, 3, 32, 32)
    backbone = made(family)
    before = backbone(image)
    adapt(backbone, rank=4, alpha=8)
    torch.testing.assert_close(backbone(image), before, rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_thin_matrices_beside_attention_and_feed_forward_are_all_that_is_trained(family):
    backbone = made(family)
    plain = backbone.state_dict().keys()
    adapt(backbone, rank=4, alpha=8)
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert trained == {f"blocks.{i}.{layer}.{thin}" for i in range(3) for layer in layers for thin in ("down", "up")}
    assert backbone.state_dict().keys() == plain | trained, "the other names stay"
    state = backbone.state_dict()
    assert state["blocks.0.attn.qkv.down"].shape == (4, 32)
    assert state["blocks.0.attn.qkv.up"].shape == (len(state["blocks.0.attn.qkv.weight"]), 4)


@pytest.mark.parametrize("family", FAMILIES)
def test_after_training_the_weights_with_the_products_in_them_are_the_same_model(family):
    backbone, image = made(family), torch.randn(2, 3, 32, 32)
    before = backbone(image)
    adapt(backbone, rank=4, alpha=8)
    optimizer = torch.optim.AdamW([p for p in backbone.parameters() if p.requires_grad], lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        (backbone(image) * before.detach()).mean().backward()  # away from it
        optimizer.step()
    after = backbone(image)
    assert (after - before).abs().max() > 1e-3, "nothing was learnt"
    plain = made(family)
    plain.load_state_dict(merge(backbone.state_dict(), alpha=8), strict=True)
    assert (plain(image) - after).abs().max() < 1e-5


def test_rank_and_alpha_are_what_the_paper_says():
    linear = torch.nn.Linear(3, 2)
    adapted = Adapted(linear, rank=2, alpha=6.0)
    torch.nn.init.normal_(adapted.up)
    x = torch.randn(5, 3)
    wanted = x @ (linear.weight + 6.0 / 2 * adapted.up @ adapted.down).T + linear.bias
    torch.testing.assert_close(adapted(x), wanted)


@pytest.mark.parametrize(("rank", "alpha"), [(0, 8), (32, 8), (2.5, 8), (4, 0), (4, -1.0)])
def test_a_rank_that_is_none_is_refused(rank, alpha):
    with pytest.raises(ValueError, match=rf"lora has rank={rank} and alpha={alpha}; a rank is a whole number from 1 to 31"):
        adapt(made(), rank=rank, alpha=alpha)


def test_frozen_blocks_are_the_lower_ones_with_all_below_them():
    backbone = made("sapiens2")
    freeze(backbone, 2)
    still = {name.split(".")[0] for name, p in backbone.named_parameters() if not p.requires_grad}
    trained = {".".join(name.split(".")[:2]) for name, p in backbone.named_parameters() if p.requires_grad}
    assert still == {"patch_embed", "cls_token", "storage_tokens", "blocks"}
    assert trained == {"blocks.2", "norm.weight"}


def test_frozen_as_a_whole_or_not_at_all():
    for frozen in (True, False):
        backbone = made()
        freeze(backbone, frozen)
        assert {p.requires_grad for p in backbone.parameters()} == {not frozen}


@pytest.mark.parametrize("blocks", [4, -1, 1.5, "all"])
def test_blocks_that_are_not_there_cannot_be_frozen(blocks):
    with pytest.raises(ValueError, match="neither True nor a number of blocks; this backbone has 3"):
        freeze(made(), blocks)
