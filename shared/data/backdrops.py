"""Other places behind people: training pictures get a background from a folder of photos, the labels stay as they are."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from shared.data.fields import Sample
from shared.data.places import places

MAX_SIDE = 512  # pixels that a photo keeps: backgrounds are looked at in pieces of this size at most
KEPT = 256  # photos in memory, some 150 MB at the most
NEEDS = frozenset({"alpha", "seg"})  # fields that tell people from what lies behind them
SURE = 0.98  # alpha from which a pixel shows nothing but the person


@dataclass(frozen=True)
class Backdrops:
    """Replaces what lies behind people, where a sample says what that is: by its `alpha`, else by class 0 of its `seg`.

    Args:
        photos: a folder of photos without people, or of shards of them; None: one plain colour each time, which is what training
            without places is.
        borders: 0 takes whole photos. Otherwise only this share of their width at either edge, the two joined: photos of one
            person in the middle, as fashion sites have them, show a place there.
        share: of the samples that get another place.
        harmony: how far the new place is brought to the brightness and contrast of the old one, drawn from 0 to this; 1 is fully.
    """

    photos: str | None = None
    borders: float = 0.0
    share: float = 0.5
    harmony: float = 0.7

    def __call__(self, sample: Sample, rng: np.random.Generator) -> np.ndarray:
        """The image (H,W,3) uint8 of a warped sample, perhaps in another place."""
        image, does, seed = sample["image"], rng.random() < self.share, int(rng.integers(2**31))
        alpha = _alpha(sample)
        if not does or alpha is None or not (alpha < SURE).any():
            return image
        own = np.random.default_rng(seed)  # one draw of the caller's, however many are made here
        place = _like(self._place(image.shape[:2], own), image, alpha, own.uniform(0, self.harmony))
        return _over(image, alpha, place)

    def _place(self, hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """(H,W,3) float32: a piece of a photo, mirrored half of the time, or a colour."""
        if self.photos is None:
            return np.broadcast_to(rng.uniform(0, 255, 3).astype(np.float32), (*hw, 3))
        photo = self._photo(int(rng.integers(len(places(self.photos)))))
        scale = max(hw[0] / photo.shape[0], hw[1] / photo.shape[1])
        scale *= np.exp(rng.uniform(0, np.log(max(1.0, min(2.5, 1 / scale)))))  # magnified only where the photo is too small
        h, w = (max(n, round(m * scale)) for n, m in zip(hw, photo.shape))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        photo = cv2.resize(photo, (w, h), interpolation=how)
        top, left = int(rng.integers(h - hw[0] + 1)), int(rng.integers(w - hw[1] + 1))
        piece = photo[top : top + hw[0], left : left + hw[1]]
        return (piece[:, ::-1] if rng.random() < 0.5 else piece).astype(np.float32)

    @cached_property
    def _held(self) -> dict[int, np.ndarray]:
        return {}

    def _photo(self, number: int) -> np.ndarray:
        """A photo of the folder, (h,w,3) uint8, at most MAX_SIDE long; the first KEPT stay in memory."""
        if number not in self._held:
            photo = places(str(self.photos))[number]
            scale = MAX_SIDE / max(photo.shape)
            if scale < 1:
                photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            if self.borders:
                edge = max(1, round(photo.shape[1] * self.borders))
                photo = np.concatenate([photo[:, -edge:], photo[:, :edge]], 1)
            if len(self._held) >= KEPT:
                return photo
            self._held[number] = photo
        return self._held[number]


def _alpha(sample: Sample) -> np.ndarray | None:
    """(H,W) float32 in 0..1, how much of a pixel must stay: people, and what nobody knows; None where the sample does not say."""
    if "alpha" in sample:
        return np.nan_to_num(sample["alpha"].astype(np.float32), nan=1.0)
    if "seg" in sample:
        return (sample["seg"] != 0).astype(np.float32)
    return None


def _like(place: np.ndarray, image: np.ndarray, alpha: np.ndarray, harmony: float) -> np.ndarray:
    """The place with mean and deviation of the old background, as far as harmony goes."""
    old = image[alpha < 1 - SURE].astype(np.float32)
    if not len(old):
        return place
    mean, deviation = place.mean((0, 1)), place.std((0, 1)) + 1
    want_mean = mean + harmony * (old.mean(0) - mean)
    gain = 1 + harmony * (np.clip((old.std(0) + 1) / deviation, 0.5, 2) - 1)
    return (place - mean) * gain + want_mean


def _over(image: np.ndarray, alpha: np.ndarray, place: np.ndarray) -> np.ndarray:
    """People over a place. Edge pixels hold some of the old place, so their colour is taken from people's pixels near by."""
    sure = (alpha >= SURE).astype(np.float32)[..., None]
    near = cv2.blur(image * sure, (5, 5)) / np.maximum(cv2.blur(sure, (5, 5))[..., None], 1e-3)
    unknown = cv2.blur(sure, (5, 5))[..., None] < 1e-2
    people = np.where(sure > 0, image, np.where(unknown, image, near))
    share = alpha[..., None]
    return np.clip(people * share + place * (1 - share), 0, 255).round().astype(np.uint8)
