"""What is planned is what a real step takes: counted by hand, and measured on this machine."""

import pytest
import torch
from torch.utils.data import default_collate

from shared.build import build
from shared.engine import data
from shared.engine.config import load
from shared.engine.launch import describe
from shared.engine.plan import _step, _without_content, main, plan, table

PLAIN = ("optimizer=adamw", "batch=200")


@pytest.fixture(scope="module")
def plain(tiny, tmp_path_factory):
    return plan(tiny("seg", tmp_path_factory.mktemp("plain"), *PLAIN))


def measured(config) -> int:
    """Bytes that a real step keeps for its backward pass, beside parameters and batch."""
    model = build(describe(config)).train()
    stream = data.training(config, model.tasks, tuple(config["backbone"]["image_hw"]))
    batch = default_collate([stream[position] for position in range(config["batch"])])
    apart = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers(), *batch.values()]}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    half = config["precision"] == "bf16"
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), torch.autocast("cpu", torch.bfloat16, enabled=half):
        losses = torch.stack([loss.float() for loss in model.losses(batch).values()]).sum()
    assert losses.requires_grad
    return sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in apart)


@pytest.mark.parametrize(("name", "precision"), [("pretrain", "fp32"), ("joint", "bf16"), ("joint", "fp32"), ("pointmap", "bf16")])
def test_the_planned_activations_are_those_of_a_real_step(tiny, tmp_path, name, precision):
    config = tiny(name, tmp_path, "batch=3", f"precision={precision}")
    assert plan(config).activations == pytest.approx(measured(config), rel=0.1)


def test_a_block_by_hand(tiny, tmp_path):
    """A picture of 4 x 3 patches: inputs, outputs and statistics of two norms, queries to answers, two hidden layers."""
    config = tiny("seg", tmp_path)
    with _without_content(config) as model:
        step = _step(model, config, torch.arange(2))
        dim, heads, depth = model.backbone.dim, model.backbone.blocks[0].attn.widths[0], len(model.backbone.blocks)
        heads //= model.backbone.blocks[0].attn.head_dim
    tokens = 2 * 12
    by_hand = 4 * tokens * (16 * dim + 4 + heads)
    assert step.in_blocks == [by_hand] * depth
    assert step.inputs == [4 * tokens * dim] * depth
    assert step.answers == [4 * tokens * (10 * dim + heads)] * depth  # 3 + 1 + 1 + 4 + 1 widths, and the sums of the softmax
    assert step.block_flops == depth * (24 * tokens * dim**2 + 4 * tokens * 12 * dim)


def test_memory_by_hand(tiny, tmp_path, plain):
    many = sum(p.numel() for p in build(describe(tiny("seg", tmp_path))).parameters())
    assert plain.parameters == plain.trained == many
    assert plain.fixed == {"parameters": 4 * many, "averaged": 0, "gradients": 4 * many, "optimiser": 8 * many}
    assert plain.memory == 16 * many + plain.activations


@pytest.mark.parametrize(
    ("override", "what", "grows"),
    [
        ("ema=0.9", "averaged", True),
        ("optimizer=muon", "optimiser", False),
        ("backbone.recompute=True", "memory", False),
        ("backbone.recompute=2", "memory", False),
        ("backbone.recompute=selective", "memory", False),
        ("optimizer=adamw8bit", "optimiser", False),
        ("batch=400", "activations", True),
        ("precision=bf16", "activations", False),
    ],
)
def test_every_setting_that_costs_memory_is_planned(tiny, tmp_path, plain, override, what, grows):
    changed = plan(tiny("seg", tmp_path, *PLAIN, override))
    before, after = (p.fixed[what] if what in p.fixed else getattr(p, what) for p in (plain, changed))
    assert (after > before) is grows
    assert after != before


def test_recomputing_takes_arithmetic(tiny, tmp_path, plain):
    again = plan(tiny("seg", tmp_path, *PLAIN, "backbone.recompute=True"))
    assert plain.flops < again.flops < plain.flops * 4 / 3
    assert plain.ways == again.ways
    second, selective = (plan(tiny("seg", tmp_path, *PLAIN, f"backbone.recompute={way}")) for way in (2, "selective"))
    assert second.flops - plain.flops == pytest.approx((again.flops - plain.flops) / 2, abs=1)
    assert selective.flops == plain.flops
    assert plain.activations > second.activations > again.activations
    assert plain.activations > selective.activations > again.activations


def test_a_model_that_is_shared_out_takes_its_share_and_what_is_gathered(tiny, tmp_path, plain):
    config = tiny("seg", tmp_path, *PLAIN, "parallel=fsdp2")
    model = build(describe(config))
    block = sum(p.numel() for p in model.backbone.blocks[0].parameters())
    shares = {name: size / 8 for name, size in plain.fixed.items()}
    outside = plain.parameters - len(model.backbone.blocks) * block
    assert plan(config, gpus=8).fixed == pytest.approx(shares | {"gathered": 8 * outside + 12 * block}, abs=1)


def test_the_table_says_what_fits_and_how_fast(plain, capsys):
    found = plain._replace(flops=10**12)
    told = table(found, gpus=2, tflops=100, mfu=0.5, memory=1e-6)
    assert "pictures per second" in told
    assert "100.0  (2 x 100 TFLOP/s at an MFU of 0.5, which is assumed)" in told
    assert "does not fit into 1e-06 GB" in told
    assert "it fits into 80 GB" in table(found, gpus=2, tflops=100, mfu=0.5, memory=80)
    assert main(["configs/depth/synthetic_nano.py", "batch=2", "backbone.image_hw=(32,32)"]) == 0
    assert "(batch 2)" in capsys.readouterr().out
    assert main(["configs/depth/synthetic_nano.py", "bach=2"]) == 2
    assert "did you mean batch?" in capsys.readouterr().err


def test_plans_need_no_data():
    config = load("configs/depth/synthetic_nano.py", ["train.shards=nowhere", "batch=1", "backbone.image_hw=(32,32)"])
    assert plan(config).activations > 0
