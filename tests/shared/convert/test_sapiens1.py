"""Sapiens' names and shapes <-> ours, at every published size and without their weights."""

import json
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from shared.convert.official import empty
from shared.convert.sapiens1 import describe, matches, to_official, to_ours

SIZES = {"300m": (1024, 24, 16), "600m": (1280, 32, 16), "1b": (1536, 40, 24), "2b": (1920, 48, 32)}
MILLIONS = {  # of parameters, by size: the specification's table of what the official classes have
    "pretrain": (335.532, 664.279, 1169.239, 2162.609),
    "pretrain_clean_backbone_only": (307.295, 635.910, 1140.740, 2133.913),
    "pose17": (329.459, 660.957, 1168.669, 2166.167),
    "pose133": (329.548, 661.046, 1168.759, 2166.257),
    "pose308": (329.683, 661.181, 1168.893, 2166.391),
    "seg28": (339.495, 670.993, 1178.706, 2176.204),
    "seg20": (339.489, 670.987, 1178.700, 2176.198),
    "depth": (319.910, 649.835, 1155.975, 2151.113),
    "normal": (339.476, 670.974, 1178.686, 2176.184),
}
PADDED = {"pose17", "pose133", "pose308", "seg20", "normal"}


@pytest.fixture(scope="module")
def listed(shared_folder) -> dict[str, list]:
    """Names and shapes at 0.3b, in the order of the official classes."""
    path = shared_folder / "spec" / "sapiens1_state_dicts.json"
    if not path.is_file():
        pytest.skip(f"there is no {path.name} beside the repository")
    return json.loads(path.read_text(encoding="utf-8"))


def official(rows: list, *, width: int = 1024, depth: int = 24) -> dict[str, Tensor]:
    """What a file of another size holds: the backbone's widths are in proportion, its layers repeat, and the head stays."""
    state = {}
    for name, shape in rows:
        inner = re.sub(r"^backbone\.", "", name)
        backbone = not name.startswith(("head.", "decode_head.", "neck."))
        wide = {
            "head.deconv_layers.0.weight": 0,
            "decode_head.deconv_layers.0.weight": 0,
            "neck.decoder_embed.weight": 1,
            "pos_embed": 2,
        }
        for axis, n in enumerate(shape):
            scaled = axis == wide[inner] if inner in wide else backbone and n % 1024 == 0
            shape = [*shape[:axis], n * width // 1024 if scaled else n, *shape[axis + 1 :]]
        layer = re.match(r"((?:backbone\.)?layers\.)(\d+)(.*)", name)
        if layer and layer[2] == "23":
            for i in range(23, depth):
                state[f"{layer[1]}{i}{layer[3]}"] = shape
        else:
            state[name] = shape
    order = sorted(state, key=lambda name: int(found[1]) if (found := re.match(r"(?:backbone\.)?layers\.(\d+)", name)) else -1)
    first = [name for name in order if name in state and not re.match(r"(backbone\.)?layers", name)]
    head = next(i for i, name in enumerate(first) if re.match(r"(backbone\.)?ln1", name))
    layers = [name for name in order if re.match(r"(backbone\.)?layers", name)]
    return {name: torch.empty(state[name], device="meta") for name in [*first[:head], *layers, *first[head:]]}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("task", MILLIONS)
def test_every_published_size_and_task_has_the_official_names_shapes_and_count(listed, task, size):
    width, depth, heads = SIZES[size]
    state = official(listed[task], width=width, depth=depth)
    if size == "300m":
        assert [[name, list(tensor.shape)] for name, tensor in state.items()] == listed[task]
    description = describe(state)
    backbone = description.get("backbone", description)
    square = task.startswith("pretrain")
    assert (backbone["size"], backbone["image_hw"]) == (size, [1024, 1024] if square else [1024, 768])
    assert backbone["patch_padding"] == (2 if task in PADDED else 0)
    model: Any = empty(description)
    ours = to_ours(state)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in ours.items()}
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(MILLIONS[task][list(SIZES).index(size)], abs=6e-4)
    vit: Any = getattr(model, "backbone", model)
    assert (vit.dim, len(vit.blocks), vit.size.heads) == (width, depth, heads)
    back = to_official(dict(sorted(ours.items())), description)
    assert list(back) == list(state), "the way back has another order"
    assert all(back[name] is state[name] for name in state)


def small(**others: list[int]) -> dict[str, Tensor]:
    """A file of one block, width 64, for 128 x 96 pixels."""
    shapes = {
        "pos_embed": [1, 48, 64],
        "patch_embed.projection.weight": [64, 3, 16, 16],
        "patch_embed.projection.bias": [64],
        "layers.0.attn.qkv.weight": [192, 64],
        "ln1.weight": [64],
    }
    shapes = {f"backbone.{name}": shape for name, shape in shapes.items()}
    return {
        name: torch.empty(shape, device="meta")
        for name, shape in {**shapes, **{k.replace("__", "."): v for k, v in others.items()}}.items()
    }


def head(count: int) -> dict[str, Tensor]:
    return small(decode_head__conv_seg__weight=[count, 32, 1, 1], decode_head__deconv_layers__0__weight=[64, 32, 4, 4])


def test_heads_are_as_told_else_as_published_else_as_configured_else_four(caplog):
    def heads(**hints):
        return describe(small(), hints=hints)["size"]["heads"]

    assert heads(heads=8) == 8
    assert heads(config="backbone=dict(embed_dims=64, num_heads=16)") == 16
    assert heads(config="'num_heads': 2") == 2
    assert "supposed" not in caplog.text
    assert heads() == 4
    assert "the file tells none: 4 supposed; heads= and --heads say otherwise" in caplog.text


def test_padding_can_be_said_against_the_task():
    assert describe(head(3))["backbone"]["patch_padding"] == 2
    assert describe(head(3), hints={"patch_padding": 0})["backbone"]["patch_padding"] == 0
    assert describe(head(28))["backbone"]["patch_padding"] == 0
    assert describe(head(28), hints={"patch_padding": 2})["backbone"]["patch_padding"] == 2


def test_answers_of_an_unknown_number_need_their_names():
    with pytest.raises(ValueError, match=r"answers 19 classes; known are 28, 20\. Say which these are: --task seg:names\.toml"):
        describe(head(19))
    assert describe(head(19), hints={"task": "seg:faces.toml"})["tasks"] == [{"type": "tasks.seg.task.Seg", "labels": "faces.toml"}]
    with pytest.raises(ValueError, match="answers seg with 28 channels, not depth; leave task out, or give seg:"):
        describe(head(28), hints={"task": "depth"})
    with pytest.raises(ValueError, match="depth has no names to choose"):
        describe(head(1), hints={"task": "depth:metres"})
    with pytest.raises(ValueError, match="answers 5 keypoints; known are 17, 133, 308"):
        describe(small(head__final_layer__weight=[5, 32, 1, 1]))


@pytest.mark.parametrize(("positions", "image_hw"), [(48, [128, 96]), (36, [96, 96]), (3072, [1024, 768]), (4096, [1024, 1024])])
def test_positions_tell_the_image(positions, image_hw):
    assert describe(small(backbone__pos_embed=[1, positions, 64]))["image_hw"] == image_hw


def test_positions_of_another_shape_are_a_sentence_or_told():
    state = small(backbone__pos_embed=[1, 40, 64])
    with pytest.raises(ValueError, match="has 40 positions, which is neither a grid of 4:3 nor a square"):
        describe(state)
    assert describe(state, hints={"image_hw": (128, 80)})["image_hw"] == [128, 80]


def test_a_tensor_that_no_sapiens_has_is_a_sentence():
    with pytest.raises(ValueError, match=r"in no Sapiens: backbone\.rope, head\.x\.weight \(2 in all\)"):
        to_ours(small(backbone__rope=[1], head__x__weight=[1]))
    with pytest.raises(ValueError, match=r"has no patch_embed\.projection\.weight, which every Sapiens has"):
        describe({"backbone.layers.0.attn.qkv.weight": torch.zeros(3, 1)})


def test_models_that_the_official_code_does_not_know_are_a_sentence():
    with pytest.raises(ValueError, match=r"holds one of pose, .*; this model has depth, seg: only the model of a single task"):
        to_official({"decoders.depth.last.bias": torch.zeros(1), "decoders.seg.last.bias": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match=r"has no place for tensors of x\.Y: backbone\.storage_tokens"):
        to_official({"backbone.storage_tokens": torch.zeros(1)}, {"type": "x.Y"})


def test_other_names_are_not_taken_for_sapiens():
    assert matches(["layers.0.attn.qkv.weight"])
    assert matches(["backbone.layers.0.attn.qkv.weight"])
    assert not matches(["blocks.0.attn.qkv.weight", "backbone.blocks.0.attn.wq.weight", "patch_embed.proj.weight"])
