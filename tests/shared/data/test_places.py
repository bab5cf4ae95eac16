"""Are photos of places found in folders and in shards alike?"""

import cv2
import numpy as np
import pytest

from shared.data.places import Places
from shared.data.shards import write_shards


def test_a_folder_of_photos_and_one_of_their_shards_show_the_same(tmp_path):
    colours = {"a": (10, 200, 60), "b": (90, 0, 130)}
    photos = {name: np.full((16, 12, 3), colour, np.uint8) for name, colour in colours.items()}
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name, photo in photos.items():
        cv2.imwrite(str(tmp_path / "photos" / "deep" / f"{name}.png"), photo[..., ::-1])
    encoded = ((name, {"image": (tmp_path / "photos" / "deep" / f"{name}.png").read_bytes()}) for name in photos)
    write_shards(encoded, tmp_path / "shards")
    for source in (tmp_path / "photos", tmp_path / "shards", str(tmp_path / "shards" / "000000.tar")):
        found = Places(source)
        assert len(found) == 2
        assert all((found[number] == photo).all() for number, photo in enumerate(photos.values()))


def test_a_folder_without_photos_is_named(tmp_path):
    with pytest.raises(ValueError, match=str(tmp_path)):
        Places(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Places(tmp_path / "nowhere")
