"""The upsampling stack: every official head from the official weights, and every number of a row means something."""

import inspect
import re
from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from shared.dense import decoder as rows
from shared.dense.decoder import DENSE, DEPTH, HEATMAP, Decoder, NormSiLU, Spec

SMALL = Spec(up=(8, 8), refine=(8,))
SCALE = {"convs": (6, 4), "hidden": (5,), "grid": (2, 1)}
OURS = {  # what Sapiens2's code calls a layer of a head: our name, and how many steps its numbers take per layer
    "input_conv": ("stem", 0),
    "deconv_layers": ("up", 3),
    "upsample_blocks": ("up", 1),
    "conv_layers": ("refine", 3),
    "scale_conv_layers": ("scale_convs", 3),
}


def features(dim=16, hw=(4, 3), seed=0):
    return torch.randn(2, dim, *hw, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "channels", "spec"),
    [
        ("heatmap_head", 5, Spec((24, 24), (24, 24))),
        ("vit_head", 7, Spec((24, 24, 24), (24, 24, 24), dropout=0.1)),
        ("vit_normal_head", 3, Spec((24, 24, 24), (24, 24, 24), dropout=0.1)),
        ("vit_depth_head", 1, Spec((12, 12, 12, 12), (12, 12), dropout=0.1)),
    ],
)
def test_an_official_head_is_a_row_of_numbers(golden, name, channels, spec):
    decoder = Decoder(32, channels, spec).eval()
    decoder.load_state_dict(golden.state(golden[name]["state"]))
    assert golden.agrees(decoder(golden.wave((1, 32, 4, 3), 0.07)), golden[name]["out"])


def named_by_us(name):
    """`decode_head.conv_layers.3.weight` -> `refine.1.0.weight`."""
    _, layer, *numbers, kind = name.split(".")
    if layer == "scale_final_layer":
        return f"scale_mlp.{int(numbers[0]) - 1}.{kind}"
    if layer not in OURS:
        return f"last.{kind}"
    ours, steps = OURS[layer]
    return f"{ours}.{int(numbers[0]) // steps}.0.{kind}" if steps else f"{ours}.0.{kind}"


PARITY = {
    "pose": (308, Spec((24, 16), (16, 16, 8))),
    "seg": (29, Spec((32, 16, 16, 8), (8, 8))),
    "normal": (3, Spec((24, 16, 12, 8), (8, 8, 4), shuffle=True)),
    "pointmap": (
        4,
        Spec((24, 16, 12, 8), (8, 8, 4), shuffle=True, scale={"convs": (24, 16, 8), "hidden": (16, 8), "grid": (2, 2)}),
    ),
}


@pytest.fixture(params=PARITY)
def official(request, shared_folder):
    """One of Sapiens2's heads, small: our decoder with its weights, and what the official code answered."""
    folder = shared_folder / "parity" / "sapiens2_tiny"
    if not folder.is_dir():
        pytest.skip("the official answers do not lie beside the repository")
    channels, spec = PARITY[request.param]
    decoder = Decoder(32, channels, spec).eval()
    weights = load_file(folder / f"{request.param}.safetensors")
    decoder.load_state_dict({named_by_us(name): tensor for name, tensor in weights.items() if name.startswith("decode_head.")})
    return decoder, load_file(folder / f"{request.param}.expected.safetensors")


@pytest.mark.parametrize("learning", [True, False])
def test_the_heads_of_sapiens2_answer_as_the_official_ones(official, learning):
    decoder, told = official
    with torch.set_grad_enabled(learning):
        for size in ("", "_offsize"):
            raw = decoder(told[f"features{size}"])
            if f"output{size}" in told:
                assert (raw - told[f"output{size}"]).abs().max() < 2e-5 * told[f"output{size}"].std()
        if "output1" in told:
            raw = decoder(told["features"])
            assert (raw[:, :3] - told["output0"]).abs().max() < 2e-5 * told["output0"].std()
            assert (raw[:, 3] - told["output1"][:, :, None]).abs().max() < 2e-6


V2 = {  # millions of parameters at the widths of 0.4b and 5b (specification, section 2)
    "HEATMAP_V2": (1024, 308, 30.2),
    "HEATMAP_V2_1B": (1536, 308, 64.3),
    "SEG_V2": (1024, 29, 11.2),
    "NORMAL_V2": (1024, 3, 57.9),
    "NORMAL_V2_5B": (2432, 3, 249.5),
    "POINTMAP": (1024, 4, 133.2),
    "POINTMAP_5B": (2432, 4, 281.4),
}


@pytest.mark.parametrize("row", V2)
def test_a_row_of_sapiens2_has_the_official_number_of_parameters_and_the_official_resolution(row):
    dim, channels, millions = V2[row]
    with torch.device("meta"):
        decoder = Decoder(dim, channels, getattr(rows, row))
        raw = decoder(torch.empty(1, dim, 64, 48))
    assert sum(p.numel() for p in decoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)
    stride = 4 if row.startswith("HEATMAP") else 1
    assert raw.shape == (1, channels, 1024 // stride, 768 // stride)


def test_a_picture_has_one_scale_at_every_size():
    decoder = Decoder(16, 4, replace(SMALL, scale=SCALE)).eval()
    seen = set()
    for hw in ((1, 1), (4, 3), (7, 4), (8, 4), (8, 3), (9, 5), (33, 20)):
        raw = decoder(features(hw=hw))
        assert raw.shape == (2, 4, hw[0] * 4, hw[1] * 4)
        assert torch.equal(raw[:, 3], raw[:, 3, :1, :1].expand_as(raw[:, 3]))
        seen.add(raw[0, 3, 0, 0].item())
    assert len(seen) == 7


def test_features_of_another_size_are_averaged_before_the_scale_is_told():
    decoder = Decoder(16, 4, replace(SMALL, scale=SCALE)).eval()
    native = features(hw=(8, 4))
    larger = native.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(decoder(larger)[:, 3, 0, 0], decoder(native)[:, 3, 0, 0], atol=1e-6, rtol=1e-6)


def test_bfloat16_does_not_round_the_points():
    decoder = Decoder(16, 4, replace(SMALL, shuffle=True, scale=SCALE)).eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        raw = decoder(features(hw=(8, 4)))
    assert raw.dtype == torch.float32
    assert not torch.equal(raw, raw.bfloat16().float())


@pytest.mark.parametrize(("spec", "stride"), [(HEATMAP, 4), (DENSE, 2), (DEPTH, 1)])
def test_the_rows_give_the_official_resolutions(spec, stride):
    with torch.device("meta"):
        raw = Decoder(1024, 3, spec)(torch.empty(1, 1024, 64, 48))
    assert raw.shape == (1, 3, 1024 // stride, 768 // stride)


@pytest.mark.parametrize("ups", range(5))
def test_each_doubling_doubles(ups):
    assert Decoder(16, 3, Spec((4,) * ups, ()))(features(hw=(5, 4))).shape == (2, 3, 5 * 2**ups, 4 * 2**ups)


CHANGES = {"up": (8, 4), "refine": (8, 8), "dropout": 0.5, "shuffle": True, "scale": SCALE}


@pytest.mark.parametrize("field", [f.name for f in fields(Spec)])
def test_every_number_of_a_row_changes_the_answer(field):
    answers = []
    for spec in (SMALL, replace(SMALL, **{field: CHANGES[field]})):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            answers.append(Decoder(16, 3, spec, std=1.0).train()(features()))
    assert not torch.equal(*answers)


ARGUMENTS = {"dim": 8, "channels": 5, "spec": DENSE, "bias": 0.5, "std": 1.0}


@pytest.mark.parametrize("argument", list(inspect.signature(Decoder).parameters))
def test_every_argument_changes_the_weights(argument):
    options = {"dim": 16, "channels": 3, "spec": SMALL}
    states = []
    for made in (options, {**options, argument: ARGUMENTS[argument]}):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            states.append(Decoder(**made).state_dict())
    first, second = ([(name, t.shape, t.double().sum().item()) for name, t in state.items()] for state in states)
    assert first != second


def test_a_new_decoder_answers_its_bias():
    raw = Decoder(16, 3, SMALL, bias=0.5, std=1e-6)(features())
    torch.testing.assert_close(raw, torch.full_like(raw, 0.5), atol=1e-4, rtol=0)


def test_dropout_is_for_training_only():
    decoder = Decoder(16, 3, replace(SMALL, dropout=0.5), std=1.0).eval()
    assert torch.equal(decoder(features()), decoder(features()))


def test_a_picture_does_not_depend_on_its_batch():
    decoder = Decoder(16, 3, SMALL, std=1.0).train()  # InstanceNorm: no statistics of others, also in training
    both = decoder(features())
    torch.testing.assert_close(both[:1], decoder(features()[:1]), atol=1e-5, rtol=1e-5)


def test_each_channel_may_begin_with_a_number_of_its_own():
    spec = replace(SMALL, scale=SCALE)
    raw = Decoder(16, 4, spec, bias=(0.0, 0.0, 1.0, 2.0), std=1e-6)(features())
    assert raw[0, :3, 0, 0].tolist() == pytest.approx([0, 0, 1], abs=1e-4)
    assert Decoder(16, 4, spec, bias=(0.0, 0.0, 1.0, 2.0)).state_dict()["scale_mlp.2.bias"].item() == 2


@pytest.mark.parametrize("spec", [SMALL, replace(SMALL, shuffle=True, scale=SCALE)])
def test_nothing_of_a_norm_is_in_the_weights(spec):
    layer = re.compile(r"(stem\.0|(up|refine|scale_convs)\.\d\.0|scale_mlp\.[024]|last)\.(weight|bias)")
    assert all(layer.fullmatch(name) for name in Decoder(16, 4, spec).state_dict())


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (30, 1), (3, 20)])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_norm_without_gradient_is_the_definition(dtype, near, mean, deviation, order):
    maps = (torch.randn(2, 3, 90, 70, generator=torch.Generator().manual_seed(0)) * deviation + mean).to(dtype, memory_format=order)
    exact = maps.double()
    variance, middle = torch.var_mean(exact, (2, 3), correction=0, keepdim=True)
    with torch.inference_mode():
        found = NormSiLU()(maps)
    torch.testing.assert_close(found.double(), F.silu((exact - middle) / (variance + 1e-5).sqrt()), atol=near, rtol=0)
