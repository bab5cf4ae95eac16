"""The masked autoencoder: it sees what is shown and nothing else, and pays for what was hidden and nothing else."""

import inspect
import re
from typing import Any

import pytest
import torch

from pretrain.distil import Distil
from pretrain.masking import choose, keep, noise_for, removed
from pretrain.model import MaskedAutoencoder
from shared.vit.model import ViT
from shared.vit.sizes import SIZES, Size

HW = (64, 48)
V2 = {"dim": 64, "depth": 2, "heads": 2, "family": "sapiens2", "tokenizer": 1}
SMALL = {"dim": 32, "depth": 1, "heads": 2}


def made(hw=HW, cls=True, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = options.pop("backbone", None) or ViT("nano", image_hw=hw, cls=cls, fixed_position=True)
        return MaskedAutoencoder(backbone, **{**SMALL, **options}).eval()


def batch(hw=HW, positions=(0, 1)):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (len(positions), 3, *hw), generator=generator, dtype=torch.uint8)
    return {"image": image, "position": torch.tensor(positions)}


def cost(model, data):
    if model.distil is not None:
        data = data | {"other": data["image"].flip(3), "local": data["image"][:, None, :, :32, :32]}
    return model.losses(data)["loss/mae/mse"]


def hidden_pixels(model, data):
    """(B,1,H,W) bool."""
    H, W = data["image"].shape[-2:]
    grid = (-(-H // 16), -(-W // 16))
    kept, order = choose(noise_for(data["position"], grid[0] * grid[1]), model.ratio)
    patches = removed(order, kept.shape[1]).unflatten(1, grid)[:, None]
    return patches.repeat_interleave(16, 2).repeat_interleave(16, 3)[..., :H, :W]


def test_the_painting_and_its_cost_are_the_official_ones(golden, monkeypatch):
    told = golden["mae_decoder"]
    monkeypatch.setitem(SIZES, "golden", Size(32, 1, 4))
    model = MaskedAutoencoder(ViT("golden", image_hw=(64, 64), cls=True), dim=16, depth=2, heads=4)
    state = {f"decoder_norm{name[4:]}" if name.startswith("norm.") else name: t for name, t in golden.state(told["state"]).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.startswith("backbone.") for name in missing)
    painted = model._paint(golden.wave((1, 5, 32), 0.03), torch.tensor([told["ids_restore"]]), (4, 4))
    assert golden.agrees(painted, told["out"])
    target = model.patchify(golden.wave((1, 3, 64, 64), 0.013))
    target = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
    assert golden.agrees(target, golden["mae_loss"]["target_stats"])
    hidden = torch.tensor([golden["mae_loss"]["mask"]])
    official = (((painted - target) ** 2).mean(2) * hidden).sum() / hidden.sum()
    assert official.item() == pytest.approx(golden["mae_loss"]["loss"], abs=1e-5)


def test_the_cost_is_the_restated_one():
    model, data = made(), batch()
    image = model.normalise(data["image"])
    painted, target, hidden = model(image, noise_for(data["position"], 12))
    target = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(cost(model, data), ((painted - target) ** 2).mean(2)[hidden].mean())


def test_a_whole_model_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = MaskedAutoencoder(ViT("300m", image_hw=(1024, 1024), cls=True))
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == 335.532  # specification of Sapiens, section 1.1


@pytest.mark.parametrize("backbone", [None, V2])
@pytest.mark.parametrize("cls", [True, False])
def test_the_encoder_never_sees_hidden_pixels(cls, backbone):
    model, data = made(cls=cls, backbone=backbone and ViT(backbone, image_hw=HW, cls=cls)), batch()
    hidden = hidden_pixels(model, data)
    other = torch.where(hidden, 255 - data["image"], data["image"])
    noise = noise_for(data["position"], 12)

    def latent(image):
        tokens, grid = model.backbone.embed(model.normalise(image))
        kept, _ = choose(noise, model.ratio)
        return model.backbone.encode(keep(tokens, kept), grid, kept=kept)

    assert torch.equal(latent(data["image"]), latent(other))
    assert torch.equal(*(model(model.normalise(image), noise)[0] for image in (data["image"], other)))
    assert not torch.equal(latent(data["image"]), latent(torch.where(hidden, data["image"], 255 - data["image"])))


def test_what_was_seen_is_not_paid_for():
    model, data = made(), batch()
    painted, _, hidden = model(model.normalise(data["image"]), noise_for(data["position"], 12))
    assert hidden.float().mean() == 0.75
    cost(model, data).backward()
    weight: Any = model.decoder_pred.weight
    before = weight.grad.clone()
    model.zero_grad()
    painted.register_hook(lambda pull: pull * hidden[..., None])  # nothing comes through seen patches
    target = model.patchify(model.normalise(data["image"]))
    target = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
    (((painted - target) ** 2).mean(2).sum() / hidden.sum()).backward()
    torch.testing.assert_close(weight.grad, before)


def test_a_mask_depends_on_the_position_not_on_the_batch():
    model, data = made(), batch(positions=(4, 9, 2))
    alone = {"image": data["image"][1:2], "position": data["position"][1:2]}
    for together, single in zip(model.reconstruct(data), model.reconstruct(alone)):
        assert (together[1:2].int() - single.int()).abs().max() <= 1
    moved = {"image": data["image"], "position": torch.tensor([5, 9, 2])}
    seen, moved_seen = model.reconstruct(data)[0], model.reconstruct(moved)[0]
    assert not torch.equal(seen[0], moved_seen[0])
    assert torch.equal(seen[1:], moved_seen[1:])


def test_the_cost_of_a_batch_is_the_mean_of_the_costs_of_its_pictures():
    model, data = made(), batch(positions=(4, 9))
    alone = [cost(model, {name: value[i : i + 1] for name, value in data.items()}) for i in range(2)]
    torch.testing.assert_close(cost(model, data), sum(alone) / 2)


@pytest.mark.parametrize("hw", [(64, 48), (61, 35), (16, 16), (1, 1)])
def test_patches_are_the_picture_in_another_order(hw):
    model = made()
    image = torch.randn(2, 3, *hw, generator=torch.Generator().manual_seed(0))
    grid = (-(-hw[0] // 16), -(-hw[1] // 16))
    patches = model.patchify(image)
    assert patches.shape == (2, grid[0] * grid[1], 768)
    assert torch.equal(model.unpatchify(patches, grid)[..., : hw[0], : hw[1]], image)


def test_a_patch_is_ordered_row_column_channel():
    image = torch.arange(3 * 32 * 32.0).view(1, 3, 32, 32)
    patch = made().patchify(image)[0, 3].view(16, 16, 3)
    assert torch.equal(patch, image[0, :, 16:, 16:].permute(1, 2, 0))


@pytest.mark.parametrize("hw", [(64, 48), (32, 80), (61, 35), (1, 1), (16, 17)])
def test_pictures_of_any_size_have_a_cost_and_a_reconstruction(hw):
    model, data = made(), batch(hw)
    assert cost(model, data) > 0 if hw != (1, 1) else cost(model, data) == 0  # one patch is seen, so none is hidden
    for picture in model.reconstruct(data):
        assert picture.shape == data["image"].shape
        assert picture.dtype == torch.uint8


def test_what_was_seen_is_shown_as_it_was_and_what_was_hidden_is_grey():
    model, data = made(), batch()
    seen, full = model.reconstruct(data)
    hidden = hidden_pixels(model, data).expand_as(seen)
    for picture in (seen, full):
        assert torch.equal(picture[~hidden], data["image"][~hidden])
    grey = torch.tensor([124, 116, 104], dtype=torch.uint8).view(1, 3, 1, 1).expand_as(seen)
    assert torch.equal(seen[hidden], grey[hidden])


def test_every_parameter_learns_and_the_tables_stay():
    model = made().train()
    cost(model, batch()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name in ("backbone.pos_embed", "decoder_pos_embed")), name


def test_the_cost_goes_down_when_it_is_followed():
    model, data = made().train(), batch()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    costs = []
    for _ in range(30):
        found = cost(model, data)
        costs.append(found.item())
        optimiser.zero_grad()
        found.backward()
        optimiser.step()
    assert costs[-1] < 0.8 * costs[0], costs


CHANGES = {
    "backbone": {"backbone": ViT("nano", image_hw=HW, cls=False)},
    "ratio": {"ratio": 0.5},
    "block_share": {"block_share": 1.0},
    "distil": {"distil": Distil(prototypes=8, hidden=8, bottleneck=8)},
    "dim": {"dim": 64},
    "depth": {"depth": 2},
    "heads": {"heads": 4},
    "norm_pix": {"norm_pix": False},
    "mean": {"mean": (0.0, 0.0, 0.0)},
    "std": {"std": (1.0, 1.0, 1.0)},
}


@pytest.mark.parametrize("argument", list(inspect.signature(MaskedAutoencoder).parameters))
def test_every_argument_changes_the_cost(argument):
    assert cost(made(), batch()) != cost(made(**CHANGES[argument]), batch())


@pytest.mark.parametrize(("windows", "hw"), [(False, (64, 48)), (False, (61, 35)), (True, (256, 128)), (True, (130, 200))])
def test_the_second_generation_learns_from_what_is_hidden_too(windows, hw):
    model = made(backbone=ViT(V2, image_hw=(256, 128) if windows else HW, tokenizer=windows)).train()
    data = batch(hw)
    found = cost(model, data)
    assert found.isfinite()
    found.backward()
    assert [name for name, p in model.named_parameters() if (p.grad is None) != (name == "decoder_pos_embed")] == []
    for painted in model.reconstruct(data):
        assert painted.shape == data["image"].shape


def test_behind_a_tokenizer_whole_windows_are_hidden():
    model = made(backbone=ViT(V2, image_hw=(256, 128), tokenizer=True))
    data = batch((256, 128))
    seen, _ = model.reconstruct(data)
    shown = (seen == data["image"]).all(1).float().unflatten(1, (4, 64)).unflatten(3, (2, 64)).mean((2, 4))  # (B,4,2)
    assert ((shown > 0.99).sum((1, 2)) == 2).all()  # a quarter of eight
    assert ((shown < 0.01).sum((1, 2)) == 6).all()
    assert model.decoder_pos_embed.shape == (1, 9 + 8, 32)


def test_the_place_of_a_kept_patch_reaches_the_second_generation():
    model = made(backbone=ViT({**V2, "depth": 4}, image_hw=HW))
    same = torch.full((1, 3, *HW), 90, dtype=torch.uint8)  # every patch alike: only places differ
    latents = []
    tokens, grid = model.backbone.embed(model.normalise(same))
    for places in ([0, 5, 9], [3, 4, 11]):
        kept = torch.tensor([places])
        latents.append(model.backbone.encode(keep(tokens, kept), grid, kept=kept))
    assert not torch.equal(*latents)


def test_a_ratio_between_two_is_that_of_the_iteration_and_before_any_the_least():
    model, data = made(ratio=(0.25, 0.9), block_share=0.5), batch()
    counts = []
    model.backbone.blocks[0].register_forward_pre_hook(lambda _, given: counts.append(given[0].shape[1] - 1))
    for done in (None, 0, 1, 2, 3, 1):
        if done is not None:
            model.begin(done, 10)
        model.losses(data)
        assert counts[-1] == max(int(12 * (1 - model.ratio)), 1)
    assert counts[0] == 9
    assert counts[2] == counts[5]
    assert len(set(counts[1:5])) > 1
    seen = [model.reconstruct(data)[0] for _ in (model.begin(1, 10), model.begin(2, 10))]
    assert torch.equal(*seen), "pictures of one run can be compared"


@pytest.mark.parametrize("ratio", [0, 1, -0.5, 75, (0.9, 0.75), (0.5, 1.0)])
def test_a_ratio_that_is_no_share_is_told(ratio):
    with pytest.raises(ValueError, match=re.escape(f"between 0 and 1, not {ratio}")):
        made(ratio=ratio)


def test_a_share_of_blocks_that_is_none_is_told():
    with pytest.raises(ValueError, match="block_share=2 is no share of the pictures"):
        made(block_share=2)
