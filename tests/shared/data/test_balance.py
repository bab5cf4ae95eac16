"""Weights that can be worked out on paper, and lines that are a table again."""

import math
import tomllib

import numpy as np
import pytest

from shared.data.balance import count, log_share, main, median_frequency
from shared.data.shards import Shards, write_shards
from shared.vocabulary import Vocabulary

NAMES = ["wall", "hat", "hair", "dog"]
SEGS = [[[0, 0, 0, 1]], [[0, 0, 2, 255]]]  # the dog is never seen


@pytest.fixture
def shards(tmp_path):
    segs = [np.array(seg, np.uint8) for seg in SEGS]
    samples = [(str(i), {"image": np.zeros((*seg.shape, 3), np.uint8), "seg": seg}) for i, seg in enumerate(segs)]
    unlabelled = [("none", {"image": np.zeros((1, 4, 3), np.uint8)})]
    write_shards([*samples, *unlabelled], tmp_path / "shards", names={"seg": NAMES})
    return tmp_path / "shards"


def test_what_is_counted_by_hand(shards):
    found = count(Shards(shards), 4)
    assert found.pixels.tolist() == [5, 1, 1, 0]
    assert found.around.tolist() == [7, 4, 3, 0]  # known pixels of the pictures that show it
    assert found.pictures.tolist() == [2, 1, 1, 0]


def test_median_frequency_by_hand(shards):
    wall, hat, hair = 5 / 7, 1 / 4, 1 / 3  # the median is the hair's
    weights = median_frequency(count(Shards(shards), 4))
    assert weights[:3].tolist() == pytest.approx([hair / wall, hair / hat, 1])
    assert math.isnan(weights[3])


def test_log_by_hand(shards):
    weights = log_share(count(Shards(shards), 4))
    assert weights[:3].tolist() == pytest.approx([1 / math.log(1.02 + n / 7) for n in (5, 1, 1)])
    assert math.isnan(weights[3])


def test_the_lines_are_toml_with_a_weight_for_every_class(shards, capsys):
    assert main([str(shards), "--quiet"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Median frequency (Eigen and Fergus 2015")
    told = tomllib.loads(text)["entries"]
    assert [entry["name"] for entry in told] == NAMES
    assert [entry["weight"] for entry in told] == pytest.approx([7 / 15, 4 / 3, 1, 1], rel=1e-3)
    assert main([str(shards), "--quiet", "--limit", "1.2"]) == 0
    told = tomllib.loads(capsys.readouterr().out)["entries"]
    assert [entry["weight"] for entry in told] == pytest.approx([1 / 1.2, 1.2, 1, 1], rel=1e-3)


def test_the_lines_for_a_table_are_its_entries_with_new_weights(shards, tmp_path, capsys):
    entries = [{"name": "room", "colour": [1, 2, 3], "also": ["wall", 'a "quoted" word']}, {"name": "hat", "colour": [4, 5, 6]}]
    lines = ['{name = "room", colour = [1, 2, 3], also = ["wall", "a \\"quoted\\" word"]}', '{name = "hat", colour = [4, 5, 6]}']
    (tmp_path / "my.toml").write_text(f"entries = [{', '.join(lines)}]")
    assert main([str(shards), "--quiet", "--table", str(tmp_path / "my.toml"), "--formula", "log"]) == 0
    table = Vocabulary.parse(tomllib.loads(capsys.readouterr().out))
    assert table.names == ("room", "hat")
    assert table.also == (tuple(entries[0]["also"]), ())
    assert table.colours == ((1, 2, 3), (4, 5, 6))
    shares = (5 / 6, 1 / 6)  # hair is unknown to this table
    assert table.weights == pytest.approx([1 / math.log(1.02 + share) for share in shares], rel=1e-3)


def test_what_cannot_be_counted_is_a_sentence(shards, tmp_path, capsys):
    unnamed = tmp_path / "unnamed"
    write_shards([("a", {"image": np.zeros((1, 2, 3), np.uint8), "seg": np.array([[0, 1]], np.uint8)})], unnamed)
    photos = tmp_path / "photos"
    write_shards([("a", {"image": np.zeros((1, 2, 3), np.uint8)})], photos)
    for arguments, sentence in (
        ([str(unnamed)], "do not name their classes; pass --table"),
        ([str(photos)], "no sample has the field 'seg'"),
        ([str(shards), "--limit", "0.5"], "--limit 0.5 is below 1"),
        ([str(tmp_path / "nothing")], "do not exist"),
    ):
        assert main([*arguments, "--quiet"]) == 2
        assert sentence in capsys.readouterr().err
