"""Fine-tuning beside a backbone that stands still, as a whole, in part, or but for thin matrices."""

import pytest
import torch
from safetensors.torch import load_file

from shared import checkpoint
from shared.data.shards import Shards
from shared.engine.config import load
from shared.engine.launch import train
from shared.engine.plan import plan

SETTINGS = ("save_every=2", "lr=1e-2", "weight_decay=0.5", "optimizer=adamw")


@pytest.fixture(scope="module")
def before(tiny, tmp_path_factory):
    """The weights before any step: those of a run whose rate is 0."""
    return load_file(train(tiny("seg", tmp_path_factory.mktemp("start") / "seg", "iters=1", "lr=0.0")))


@pytest.mark.parametrize(
    ("frozen", "still", "optimizer"),
    [
        ("True", ("backbone.",), "adamw"),
        ("2", ("backbone.patch_embed", "backbone.pos_embed", "backbone.blocks.0.", "backbone.blocks.1."), "muon"),
    ],
)
def test_what_is_frozen_does_not_move_by_a_bit_and_all_else_does(tiny, tmp_path, before, frozen, still, optimizer):
    after = load_file(train(tiny("seg", tmp_path / "run", *SETTINGS, f"frozen={frozen}", f"optimizer={optimizer}")))
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor) is name.startswith(still), name
    state = torch.load(tmp_path / "run" / "iter_3.pth", weights_only=True)
    assert len(state["optimizer"]["state"]) == sum(not name.startswith(still) for name in before)


def test_lora_is_exported_in_the_weights_and_goes_on_where_it_was(tiny, tmp_path, pretrained, small_shards):
    config = tiny("seg", tmp_path / "run", *SETTINGS, f"init={pretrained}", "lora={'rank': 4, 'alpha': 8}")
    path, learnt = train(config), load_file(pretrained)
    whole = load_file(path)
    moved = {name for name in learnt if name.startswith("backbone.blocks.") and not torch.equal(whole[name], learnt[name])}
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert moved == {f"backbone.blocks.{i}.{layer}.weight" for i in range(4) for layer in layers}

    state = torch.load(tmp_path / "run" / "iter_3.pth", weights_only=True)["state_dict"]
    for name in learnt:
        if name.startswith("backbone.blocks."):
            assert torch.equal(state[f"model.{name}"], learnt[name]), f"{name} stands still"
    qkv = "model.backbone.blocks.0.attn.qkv"
    product = 8 / 4 * state[f"{qkv}.up"] @ state[f"{qkv}.down"]
    torch.testing.assert_close(whole["backbone.blocks.0.attn.qkv.weight"], state[f"{qkv}.weight"] + product)
    image = torch.from_numpy(Shards(small_shards).read(0)["image"]).permute(2, 0, 1)[None]
    assert checkpoint.load(path).model(image)["seg"].isfinite().all()

    (tmp_path / "run" / "iter_3.pth").unlink()
    again = load_file(train(config))
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())
    with pytest.raises(ValueError, match="holds a run with other settings"):
        train({**config, "lora": None})


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("frozen=9",), "frozen=9 is neither True nor a number of blocks; this backbone has 4"),
        (("frozen=True", "lora={'rank': 4, 'alpha': 8}"), "lora holds the whole backbone still, and frozen=True a part of it"),
        (("lora={'rank': 4}",), r"lora=\{'rank': 4\} is no adaptation; give"),
        (("lora=4",), "lora=4 is no adaptation"),
        (("frozen=True", "compare=True"), "looks at what tasks want of the backbone, which stands still"),
        (("lora={'rank': 4, 'alpha': 8}", "balance=gradnorm"), "looks at what tasks want of the backbone"),
    ],
)
def test_what_cannot_stand_still_is_a_sentence(tiny, tmp_path, overrides, told):
    with pytest.raises(ValueError, match=told):
        train(tiny("joint", tmp_path / "joint", *overrides))
    assert not (tmp_path / "joint" / "config.json").exists()


def test_the_plan_knows_what_is_trained(tiny, tmp_path):
    whole, thin = (plan(tiny("seg", tmp_path, *override)) for override in ((), ("lora={'rank': 4, 'alpha': 8}",)))
    assert thin.trained < whole.trained < whole.parameters + 1 < thin.parameters
    assert thin.fixed["optimiser"] < whole.fixed["optimiser"]


def test_runs_from_before_these_settings_go_on():
    tree = load("configs/seg/synthetic_nano.py")
    assert (tree["frozen"], tree["lora"], tree["parallel"]) == (None, None, "auto")
