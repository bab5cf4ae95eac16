"""Copies of a photo are found whatever was done to their size, quality and light; other people are other pictures."""

import io
from itertools import combinations

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.data.duplicates import NEAR, Seen, dhash
from shared.data.shards import Shards


def smaller(image):
    return cv2.resize(image, (image.shape[1] * 2 // 3, image.shape[0] // 2), interpolation=cv2.INTER_AREA)


def worse(image):
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=40)
    return np.array(Image.open(out))


def brighter(image):
    return np.clip(image.astype(float) * 1.15 + 8, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", [smaller, worse, brighter])
def test_a_copy_is_found(large_shards, change):
    shards, seen = Shards(large_shards), Seen()
    for i in range(len(shards)):
        image = shards.read(i)["image"]
        seen.add(dhash(image), str(i))
        assert seen.find(dhash(change(image))) == str(i)


def test_different_people_differ(small_shards, large_shards):
    hashes = [dhash(shards.read(i)["image"]) for shards in map(Shards, (small_shards, large_shards)) for i in range(len(shards))]
    assert len(hashes) == 14
    assert min((a ^ b).bit_count() for a, b in combinations(hashes, 2)) > 2 * NEAR


def test_the_search_finds_what_comparing_all_finds():
    rng = np.random.default_rng(3)
    base = int.from_bytes(rng.bytes(16), "big")
    seen = Seen()
    seen.add(base, "base")
    for flips in range(15):
        other = base
        for bit in rng.choice(128, flips, replace=False):
            other ^= 1 << int(bit)
        assert seen.find(other) == ("base" if flips <= NEAR else None)


def test_the_nearest_is_named():
    seen = Seen()
    seen.add(0b111, "far")
    seen.add(0b1, "near")
    assert seen.find(0) == "near"
    assert Seen().find(0) is None


def test_a_mirrored_or_turned_picture_is_another(person):
    image = person["image"]
    seen = Seen()
    seen.add(dhash(image), "it")
    assert seen.find(dhash(image[:, ::-1].copy())) is None
    assert seen.find(dhash(image[::-1].copy())) is None
