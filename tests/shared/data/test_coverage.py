"""Does the table of what shards show count by hand?"""

import numpy as np
import pytest

from shared.data.coverage import coverage, main, table
from shared.data.shards import Shards, write_shards

NAMES = {"seg": ["wall", "hat", "hair"], "keypoints": ["nose", "ear"]}


def sample(seg, seen, **facts):
    points = np.array([[1, 1, seen[0]], [2, 2, seen[1]]], np.float32)
    return {"seg": np.array(seg, np.uint8), "keypoints": points, "facts": facts}


@pytest.fixture
def shards(tmp_path):
    samples = [
        sample([[0, 0], [1, 255]], (1, 0), shot="full", backdrop="room", people=[{"pose": "sitting"}, {"pose": "standing"}]),
        sample([[0, 0], [0, 0]], (1, 0), shot="full", backdrop="street", people=[{"pose": "standing"}]),
        sample([[0, 1], [1, 1]], (1, 1), shot="face"),
    ]
    bare = {"box": np.zeros(4, np.float32)}
    write_shards(((str(i), one) for i, one in enumerate([*samples, bare])), tmp_path, names=NAMES)
    return tmp_path


def test_classes_points_and_words_are_counted_by_hand(shards):
    found = coverage(Shards(shards))
    assert (found.samples, found.labelled, found.pointed) == (4, 3, 3)
    assert found.pixels[:3].tolist() == [7, 4, 0]
    assert found.containing[:3].tolist() == [3, 2, 0]
    assert found.pixels[255] == 1
    assert found.visible.tolist() == [3, 1]
    assert found.words["shot"] == {"full": 2, "face": 1}
    assert found.words["backdrop"] == {"room": 1, "street": 1}
    assert found.words["people"] == {"2": 1, "1": 1}
    assert found.words["pose"] == {"standing": 2, "sitting": 1}


def test_the_table_names_everything_with_its_share(shards, capsys):
    assert main([str(shards), "--quiet"]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert lines["samples"] == ["4"]
    assert lines["full"] == ["2", "66.67%"]
    assert lines["hat"] == ["66.67%", "36.36%"]
    assert lines["hair"] == ["0.00%", "0.00%"]  # a class that nobody wears is in the table, too
    assert lines["(unknown)"] == ["33.33%"]
    assert lines["nose"] == ["100.00%"]
    assert lines["ear"] == ["33.33%"]


def test_shards_of_photos_alone_have_nothing_to_count(tmp_path):
    write_shards([("a", {"image": np.zeros((4, 4, 3), np.uint8)})], tmp_path)
    assert table(coverage(Shards(tmp_path)), {}).split() == ["samples", "1"]


def test_without_names_there_are_numbers(tmp_path):
    write_shards([("a", {"seg": np.array([[0, 2]], np.uint8)})], tmp_path)
    rows = table(coverage(Shards(tmp_path)), {}).splitlines()
    assert [row.split()[0] for row in rows[3:]] == ["0", "1", "2", "(unknown)"]


def test_a_folder_without_shards_is_refused_in_a_sentence(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "holds no .tar file" in capsys.readouterr().err
