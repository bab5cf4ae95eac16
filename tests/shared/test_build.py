"""Configs become objects, with a sentence for every mistake, and become JSON again."""

import json

import numpy as np
import pytest

from shared.build import build, named, plain
from shared.data.photometric import Photometric
from shared.data.view import Jitter
from shared.dense.decoder import Decoder, Spec
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.seg.task import Seg

WHERE = "shared.data.view.Jitter"


@pytest.mark.parametrize("kind", [Jitter, WHERE])
def test_a_node_becomes_an_object(kind):
    assert build({"type": kind, "degrees": 5.0}) == Jitter(degrees=5.0)


def test_nodes_are_found_at_any_depth():
    tree = {"a": [{"type": Depth}, {"b": ({"type": Seg, "dice": 1.0}, 3)}], "none": None}
    assert build(tree) == {"a": [Depth(), {"b": [Seg(dice=1.0), 3]}], "none": None}


def test_arguments_may_be_nodes():
    seg = build({"type": Seg, "labels": {"entries": [{"name": "all", "colour": [0, 0, 0]}]}})
    assert seg.vocabulary.names == ("all",)


def test_defaults_yield_to_what_the_node_says_and_belong_to_the_outermost():
    node = {"type": Jitter, "degrees": 5.0}
    assert build(node, degrees=7.0, flip=0.0) == Jitter(degrees=5.0, flip=0.0)
    assert build([{"type": Jitter}], degrees=7.0) == [Jitter()]


def test_data_are_left_as_they_are():
    for data in (None, 3, 2.5, "text", True):
        assert build(data) is data


def test_a_misspelt_argument_is_told_with_the_nearest():
    with pytest.raises(ValueError, match=r"Jitter takes no 'degree'; did you mean degrees\?"):
        build({"type": Jitter, "degree": 5.0})
    with pytest.raises(ValueError, match="Spec takes no 'zzz'; it takes up, refine, dropout"):
        build({"type": Spec, "zzz": 1})


def test_a_missing_argument_is_told():
    with pytest.raises(ValueError, match="Decoder needs channels, spec; it was given dim"):
        build({"type": Decoder, "dim": 8})
    with pytest.raises(ValueError, match="Decoder needs dim, channels, spec; it was given nothing"):
        build({"type": Decoder})


@pytest.mark.parametrize("path", ["os.system", "builtins.eval", "torch.nn.Linear", "system", "sharedx.build.build", ""])
def test_a_file_may_not_name_code_from_elsewhere(path):
    with pytest.raises(ValueError, match="not a class of shared, tasks, pretrain; a file may not name code from elsewhere"):
        named(path)


@pytest.mark.parametrize("path", ["shared.data.view.Missing", "shared.nothing.Jitter", "tasks.Depth"])
def test_a_class_that_is_gone_is_told(path):
    with pytest.raises(ValueError, match=r"there is no .* in this version"):
        named(path)


@pytest.mark.parametrize(
    "path",
    ["shared.build.import_module", "shared.build.inspect", "shared.data.shards.os", "shared.build.build", "shared.build.OURS"],
)
def test_a_module_of_ours_is_no_door_to_other_code(path):
    with pytest.raises(ValueError, match="may not name"):
        named(path)


@pytest.mark.parametrize("kind", [Jitter, Photometric, Depth, Seg, ViT])
def test_a_class_comes_back_from_its_name(kind):
    assert named(plain(kind)) is kind


def test_a_plain_tree_is_json_and_builds_the_same():
    tree = {"type": Jitter, "scale": (0.5, 2.0), "flip": 0}
    written = json.loads(json.dumps(plain(tree)))
    assert written == {"type": WHERE, "scale": [0.5, 2.0], "flip": 0}
    assert plain(written) == written
    assert build(written).scale == [0.5, 2.0]


def test_what_json_cannot_hold_is_refused():
    for thing in (np.float32(1), object(), {1, 2}, Depth()):
        with pytest.raises(ValueError, match="a config holds data, not"):
            plain({"deep": [thing]})
