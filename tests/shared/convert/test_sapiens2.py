"""Meta's Sapiens2 files by the names and shapes of their tensors: every published one, and small ones."""

import json
from math import prod
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from shared.build import build
from shared.convert import sapiens2

FILES = ["pretrain_rope_bf16", "pretrain_rope_fp32", "pretrain_4k_tokenizer", "pose", "seg", "normal", "pointmap"]
SIZES = {  # specification, section 1.1: our name, parameters, tensors of the pretrained file
    "0.1b": ("v2_100m", 113_993_472, 210),
    "0.4b": ("v2_400m", 395_450_368, 414),
    "0.8b": ("v2_800m", 814_283_520, 550),
    "1b": ("v2_1b", 1_455_474_176, 686),
    "5b": ("v2_5b", 5_066_902_976, 958),
}
BYTES = {  # of the published files, section 1.5; those of pose-5b and seg-1b were seen on the hub, the others follow from the lists
    "pose": {"0.4b": 1_702_754_120, "0.8b": 3_394_878_784, "1b": 6_079_194_752, "5b": 20_480_899_148},
    "seg": {"0.4b": 1_626_451_436, "0.8b": 3_310_187_492, "1b": 5_883_353_380, "5b": 20_358_459_120},
    "normal": {"0.4b": 1_813_476_476, "0.8b": 3_538_370_164, "1b": 6_157_412_276, "5b": 21_265_538_584},
    "pointmap": {"0.4b": 2_114_748_360, "0.8b": 3_869_526_464, "1b": 6_518_452_992, "5b": 21_393_490_292},
}
BUILT_BY_META = [1, 1.2734375, 1.625, 2.078125, 2.640625, 3.375, 4.28125, 5.46875, 6.96875, 8.875, 11.3125, 14.3125, 18.375, 23.25,
                 30, 37.75, 48.75, 61.5, 79]  # periods of heads 76 wide, computed in bfloat16 (section 1.4)  # fmt: skip


@pytest.fixture(scope="module")
def folder(shared_folder):
    found = shared_folder / "parity" / "sapiens2_tiny"
    if not found.is_dir():
        pytest.skip("there are no parity files of Sapiens2 beside the repository")
    return found


@pytest.fixture(scope="module")
def lists(shared_folder):
    path = shared_folder / "spec" / "sapiens2_state_dicts.json"
    if not path.is_file():
        pytest.skip(f"there is no {path.name} beside the repository")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def seg(folder):
    return load_file(folder / "seg.safetensors")


def meta(listed):
    return {name: torch.empty(shape, device="meta") for name, shape in listed}


def backbone_of(size, **options):
    with torch.device("meta"):
        return build({"type": "shared.vit.model.ViT", "size": SIZES[size][0], **options})


def published(lists, task, size):
    """The tensors of a published file of a task; for most sizes only the head's list is at hand, and the backbone is ours."""
    if f"{task}-{size}" in lists:
        return meta(lists[f"{task}-{size}"])
    backbone = sapiens2.to_official(backbone_of(size).state_dict(), {})
    return {f"backbone.{k}": v for k, v in backbone.items()} | meta(lists[f"{task}-{size}__decode_head_only"])


def shapes(state):
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def rebuilt(state):
    """The model that a file describes, back under Meta's names."""
    about = sapiens2.describe(state)
    with torch.device("meta"):
        model = build(about)
    return model, sapiens2.to_official(model.state_dict(), about)


def size_in_bytes(state):
    """Of a safetensors file with these tensors in float32 and the metadata that PyTorch's tools write."""
    start, header = 0, dict[str, Any](__metadata__={"format": "pt"})
    for name in sorted(state):
        end = start + 4 * state[name].numel()
        header[name] = {"dtype": "F32", "shape": list(state[name].shape), "data_offsets": [start, end]}
        start = end
    return 8 + -(-len(json.dumps(header, separators=(",", ":"))) // 8) * 8 + start


@pytest.mark.parametrize("size", SIZES)
def test_every_published_backbone_has_the_counted_parameters(size):
    model = backbone_of(size)
    _, parameters, tensors = SIZES[size]
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(sapiens2.to_official(model.state_dict(), {})) == tensors


def test_the_pretrained_list_is_ours_under_other_names(lists):
    listed = meta(lists["pretrain-0.1b"])
    model, official = rebuilt(listed)
    assert shapes(official) == shapes(listed)
    assert (model.size, model.grid) == (backbone_of("0.1b").size._replace(tokenizer=0), (64, 48))


def test_the_4k_list_is_ours_under_other_names(lists):
    plain = sapiens2.to_official(backbone_of("1b").state_dict(), {})
    listed = plain | meta(lists["pretrain-1b-4k__tokenizer_part_only"])
    model, official = rebuilt(listed)
    assert shapes(official) == shapes(listed)
    assert sum(p.numel() for p in model.parameters()) == 1_606_588_928
    assert (len(official), model.grid, model.stride) == (744, (64, 48), 64)


@pytest.mark.parametrize("size", ["0.4b", "0.8b", "1b", "5b"])
@pytest.mark.parametrize("task", BYTES)
def test_every_published_task_file_is_ours_under_other_names(lists, task, size):
    listed = published(lists, task, size)
    model, official = rebuilt(listed)
    assert shapes(official) == shapes(listed)
    assert shapes(sapiens2.to_ours(listed)) == shapes(model.state_dict())
    assert model.backbone.grid == (64, 48)
    assert size_in_bytes(official) == BYTES[task][size]


@pytest.mark.parametrize("file", FILES)
def test_there_and_back_is_the_same_file_bit_for_bit(folder, file):
    state = load_file(folder / f"{file}.safetensors")
    back = sapiens2.to_official(sapiens2.to_ours(state), sapiens2.describe(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("file", FILES)
def test_the_precision_of_the_angles_is_told_by_the_periods(folder, file):
    about = sapiens2.describe(load_file(folder / f"{file}.safetensors"))
    assert about.get("backbone", about)["rope_dtype"] == ("bf16" if "bf16" in file else "fp32")


@pytest.mark.parametrize(
    ("periods", "precision"),
    [
        (torch.tensor(BUILT_BY_META), "bf16"),
        (100 ** (torch.arange(19) * 4 / 76), "fp32"),
        (100 ** (torch.arange(16) / 16), "fp32"),
        (torch.tensor([1.0, 10.0]), "fp32"),  # exact in both: nothing was rounded
        (torch.empty(16, device="meta"), "fp32"),
    ],
)
def test_periods_rounded_to_bfloat16_are_metas_own(periods, precision):
    assert sapiens2.rope_dtype(periods) == precision


def test_rounded_periods_are_copied_not_made_again(seg):
    seg["backbone.rope_embed.periods"] = torch.tensor([1.0, 3.125, 10.0, 32.0])
    assert sapiens2.to_ours(seg)["backbone.rope.periods"].tolist() == [1.0, 3.125, 10.0, 32.0]


def test_periods_that_the_file_lacks_are_the_exact_ones(seg):
    kept = seg.pop("backbone.rope_embed.periods")
    torch.testing.assert_close(sapiens2.to_ours(seg)["backbone.rope.periods"], kept)
    assert sapiens2.describe(seg)["backbone"]["rope_dtype"] == "fp32"


def test_half_precision_files_keep_their_numbers_but_periods_are_float32(seg):
    ours = sapiens2.to_ours({name: tensor.bfloat16() for name, tensor in seg.items()})
    assert {tensor.dtype for name, tensor in ours.items() if not name.endswith("periods")} == {torch.bfloat16}
    assert ours["backbone.rope.periods"].dtype == torch.float32


def test_queries_keys_and_values_are_stacked_in_this_order(seg):
    ours = sapiens2.to_ours(seg)
    for block, rows in ((0, 96), (8, 64)):  # block 8 has one head of keys for two of queries
        qkv = ours[f"backbone.blocks.{block}.attn.qkv.weight"]
        assert qkv.shape == (rows, 32)
        q, k, v = qkv.split([32, rows // 2 - 16, rows // 2 - 16])
        for part, tensor in (("wq", q), ("wk", k), ("wv", v)):
            assert torch.equal(tensor, seg[f"backbone.blocks.{block}.attn.{part}.weight"])


def test_what_is_known_better_than_the_file_tells_goes_first(seg):
    about = sapiens2.describe(seg, hints={"rope_dtype": "bf16", "image_hw": [128, 96], "config": None, "task": "seg:mine.toml"})
    assert about["backbone"]["rope_dtype"] == "bf16"
    assert about["backbone"]["image_hw"] == [128, 96]
    assert about["tasks"] == [{"type": "tasks.seg.task.Seg", "labels": "mine.toml"}]


def test_a_backbone_cut_out_of_a_task_file_is_a_backbone(seg):
    cut = {name: tensor for name, tensor in seg.items() if name.startswith("backbone.")}
    about = sapiens2.describe(cut)
    assert about["type"] == "shared.vit.model.ViT"
    build(about).load_state_dict(sapiens2.to_ours(cut))


def test_a_mask_token_of_pretraining_is_left_out(folder):
    state = load_file(folder / "pretrain_rope_fp32.safetensors")
    assert "mask_token" not in sapiens2.to_ours({**state, "mask_token": torch.zeros(1, 1, 32)})


@pytest.mark.parametrize(("cells", "image_hw"), [(4, [256, 192]), (48, [1024, 768]), (192, [2048, 1536])])
def test_the_size_of_the_picture_follows_from_what_the_scale_branch_sees(folder, cells, image_hw):
    name = "decode_head.scale_final_layer.1.weight"  # each of the 8 channels of each cell that three halvings leave
    about = sapiens2.describe(replaced(load_file(folder / "pointmap.safetensors"), name, 16, 8 * cells))
    assert about["backbone"]["image_hw"] == image_hw
    assert prod(about["decoder"]["scale"]["grid"]) == cells


def without(state, *names):
    return {name: tensor for name, tensor in state.items() if name not in names}


def replaced(state, name, *shape):
    return {**state, name: torch.zeros(shape)}


def test_files_that_are_no_sapiens2_get_a_sentence(seg, folder):
    head, block = "decode_head.conv_seg", "backbone.blocks.8"
    albedo = {name.replace("conv_seg", "conv_albedo"): tensor for name, tensor in seg.items()}
    for wrong, sentence in (
        (albedo, "ends in conv_albedo; of Sapiens2, pose, seg, normal, pointmap can be read"),
        (without(seg, "backbone.storage_tokens"), "has no storage_tokens, which every Sapiens2 has"),
        (replaced(seg, "backbone.storage_tokens", 1, 4, 32), "has 4 storage tokens; every Sapiens2 has 8"),
        (
            replaced(seg, f"{block}.attn.wk.weight", 32, 32),
            r"blocks\.8\.attn\.wk\.weight is \(32, 32\), a Sapiens2 .* has \(16, 32\)",
        ),
        (replaced(seg, f"{block}.ffn.w12.weight", 128, 32), r"w12\.weight is \(128, 32\), a Sapiens2 .* has \(256, 32\) there"),
        (replaced(seg, f"{head}.bias", 20), "answers 20 classes, Sapiens2 29; say which these are: --task seg:names.toml"),
    ):
        with pytest.raises(ValueError, match=sentence):
            sapiens2.describe(wrong)
    pointmap = replaced(load_file(folder / "pointmap.safetensors"), "decode_head.scale_final_layer.1.weight", 16, 8 * 5)
    with pytest.raises(ValueError, match="sees 5 positions, which no image of 4:3 leaves after 3 halvings"):
        sapiens2.describe(pointmap)
    ported = {"model.embeddings.register_tokens": torch.zeros(1), "decode_head.predictor.weight": torch.zeros(20, 8, 1, 1)}
    with pytest.raises(ValueError, match=r"head has 20 channels; pose \(308\), seg \(29\), normal and pointmap \(3\)"):
        sapiens2.describe(ported)
    with pytest.raises(ValueError, match="answers seg with 29 channels, not pose; leave task out, or give seg:"):
        sapiens2.describe(seg, hints={"task": "pose"})
    with pytest.raises(ValueError, match=r"holds projectors\.weight, which no Sapiens2 has; give a published file"):
        sapiens2.to_ours(replaced(seg, "projectors.weight", 3))
    with pytest.raises(ValueError, match=r"without backbone\.blocks\.8\.attn\.wv\.bias; part of it is lost"):
        sapiens2.to_ours(without(seg, f"{block}.attn.wv.bias"))


def test_models_that_meta_has_not_cannot_be_written_as_its_files(seg):
    ours, about = sapiens2.to_ours(seg), sapiens2.describe(seg)
    depth = {name.replace("decoders.seg", "decoders.depth"): tensor for name, tensor in ours.items()}
    with pytest.raises(ValueError, match="holds one of pose, seg, normal, pointmap; this model answers depth, seg"):
        sapiens2.to_official({**ours, **depth}, about)
    with pytest.raises(ValueError, match=r"this model answers depth$"):
        sapiens2.to_official(depth, about)
    normal = {name.replace("decoders.seg", "decoders.normal"): tensor for name, tensor in ours.items()}
    with pytest.raises(ValueError, match="head for normal has shuffle=True, this model's decoder False"):
        sapiens2.to_official(normal, about)
    with pytest.raises(ValueError, match=r"no place for backbone\.pos_embed; only models of its own architecture"):
        sapiens2.to_official({**ours, "backbone.pos_embed": torch.zeros(1)}, about)


def test_only_sapiens2_files_are_taken_for_one(folder):
    for file in FILES:
        assert sapiens2.matches(load_file(folder / f"{file}.safetensors"))
    assert not sapiens2.matches({"backbone.layers.0.attn.qkv.weight", "cls_token"})
    assert not sapiens2.matches(set())
