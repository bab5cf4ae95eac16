"""Stream: shards -> endless training samples. What comes at position p depends on the seed and p alone."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from shared.data.backdrops import NEEDS as BACKDROPS_NEED
from shared.data.backdrops import Backdrops
from shared.data.buckets import Buckets
from shared.data.cache import Cache
from shared.data.crops import Crops
from shared.data.fields import FIELDS, Sample, warp
from shared.data.half import HalfBody
from shared.data.mixture import Mixture
from shared.data.occlusion import Occlusion
from shared.data.order import Order
from shared.data.paths import Spec
from shared.data.photo import UnreadablePhoto
from shared.data.photometric import Photometric
from shared.data.quarantine import Quarantine
from shared.data.shards import DamagedSample
from shared.data.view import Jitter, Size, View
from shared.data.wanted import Wanted

VIEWS = 10  # views that are drawn until one shows enough; as in Sapiens' configs
PICTURE = {"image", *BACKDROPS_NEED}  # all of a sample that colours depend on
TRIES = 100  # damaged samples in a row before the stream gives up


class Stream(Dataset):
    """Endless training samples: `stream[p]` for any p >= 0.

    A sample is a dict of tensors, of one shape for all p but with `buckets`: `image` (3,H,W) uint8, `position` () int64, and each
    wanted field at the size of the view, unknown where the shard has none. With `crops`, `image` is one of two large views, `other`
    (3,H,W) the second, `local` (n,3,h,w) are the small ones; each is changed by itself, and fields follow the first. A damaged
    sample is replaced by its successor, and named once in the log.

    Args:
        shards: folder, address, brace pattern or list, see `Shards`; their names may differ, see `Mixture`.
        size: (H,W) of the network's input.
        wanted: the fields that the model needs beside the image.
        framing: `whole`, the picture; `boxes`, the person in its box, as far as it has one.
        half_body: which views show half of a person instead; None: none.
        jitter: how far views stray; None: not at all.
        backdrops: what people are put before; None: nothing but what the pictures show.
        photometric: how colours change; None: not at all.
        occlusion: what is covered last; None: nothing.
        crops: several views of what is seen so far; None: that one.
        seed: of the order and of every change.
        window: shards that are shuffled together.
        cache: where shards behind addresses are kept; None: every read asks the server.
        buckets: sizes (H,W) in place of `size`: each picture is seen at the one of the nearest aspect; None: all at `size`.
        group: with buckets, so many consecutive positions have one size: the pictures of a step of all processes.

    Raises:
        ValueError: no sample, or no sample with a wanted field among the first ones; half bodies without points; a cache that is
            too small.
    """

    def __init__(
        self,
        shards: Spec,
        *,
        size: Size,
        wanted: Wanted | None = None,
        framing: str = "whole",
        half_body: HalfBody | None = None,
        jitter: Jitter | None = None,
        backdrops: Backdrops | None = None,
        photometric: Photometric | None = None,
        occlusion: Occlusion | None = None,
        crops: Crops | None = None,
        seed: int = 0,
        window: int = 16,
        cache: Cache | None = None,
        buckets: Sequence[Size] | None = None,
        group: int = 1,
    ) -> None:
        self.wanted = wanted or Wanted({})
        if half_body is not None and "keypoints" not in self.wanted.fields:
            raise ValueError("half_body needs a task with keypoints, which say what half of a person is; set half_body=None")
        if buckets is not None and framing != "whole":
            raise ValueError(
                f"buckets sort pictures by their aspect, but framing={framing!r} shows parts of them; set framing=whole"
            )
        self.shards = Mixture(shards, self.wanted, cache=cache, sized=buckets is not None)
        self.together = self.shards.together(window)  # bytes behind addresses that are read in any order
        if cache is not None:
            cache.require(self.together)
        self.size: Size = (int(size[0]), int(size[1]))
        self.framing, self.half_body, self.jitter, self.seed = framing, half_body, jitter, seed
        self.backdrops, self.photometric, self.occlusion, self.crops = backdrops, photometric, occlusion, crops
        self.kept = self.wanted.reads  # what a batch holds
        self.reads = self.kept | BACKDROPS_NEED if backdrops is not None else self.kept
        self.order = (
            Order(self.shards.counts, seed=seed, window=window)
            if buckets is None
            else Buckets(self.shards.counts, self.shards.hw, sizes=buckets, group=group, seed=seed, window=window)
        )
        self.quarantine = Quarantine(self.shards)

    @property
    def samples(self) -> int:
        """How many different ones there are."""
        return len(self.shards)

    @property
    def replaced(self) -> int:
        """How often another sample had to take the place of a damaged one, in this process and its workers."""
        return self.quarantine.replaced

    def reading(self, worker: int) -> str:
        """What a worker turned to last, for the sentence when it hangs."""
        position = self.quarantine.position(worker)
        return "nothing yet" if position is None else self.shards.where(self.order[position])

    def __len__(self) -> int:
        return 2**62  # endless; the batch sampler says where to stop

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        self.quarantine.begins(position)
        for attempt in range(TRIES):
            index = self.order[position + attempt]
            if self.quarantine.holds(index):
                continue
            try:
                made = self._made(index, position)
            except DamagedSample as error:
                self.quarantine.take(index, error)
            else:
                self.quarantine.judge(attempt)
                return made
        raise DamagedSample(f"{TRIES} samples in a row are damaged, the last is {self.shards.key(index)!r}; pack the shards again")

    def _made(self, index: int, position: int) -> dict[str, Tensor]:
        """Sample `index` through the view of a position: the picture is decoded last, no larger than that view needs it."""
        sample = self.shards.read(index, only=self.reads, late=("image",) if self.crops is None else ())
        rng = np.random.default_rng([self.seed, position])
        size = self.order.size(position) if isinstance(self.order, Buckets) else self.size
        view = frame(sample, size, self.framing)
        if self.half_body is not None and "keypoints" in sample:
            words = self.wanted.fields["keypoints"]
            view = self.half_body(view, sample["keypoints"], words.groups if words else {}, rng)
        if self.jitter is not None:
            view = strayed(self.jitter, sample, view, rng)
        first = view if self.crops is None else self.crops.large(view, _hw(sample), rng)
        try:
            seen = self._seen(sample, first, self.photometric, rng)
        except UnreadablePhoto as error:
            raise DamagedSample(f"the image of {self.shards.where(index)} is damaged: {error}") from error
        made = tensors(seen, self.wanted.fill(seen, size)) | {"position": torch.tensor(position)}
        return made if self.crops is None else made | self._parts(sample, view, position, self.crops)

    def _seen(self, sample: Sample, view: View, photometric: Photometric | None, rng: np.random.Generator) -> Sample:
        """The sample as a view sees it, in another place, in other colours, partly covered."""
        seen = warp(sample, view, swaps=self.wanted.swaps)
        if self.backdrops is not None:
            seen["image"] = self.backdrops(seen, rng)
            seen = {name: value for name, value in seen.items() if name in self.kept}
        if photometric is not None:
            seen["image"] = photometric(seen["image"], rng)
        if self.occlusion is not None:
            seen["image"] = self.occlusion(seen["image"], rng)
        return seen

    def _parts(self, sample: Sample, view: View, position: int, crops: Crops) -> dict[str, Tensor]:
        """The other large view and the small ones; each has draws of its own, so that their number changes none of them."""
        sample = {name: sample[name] for name in PICTURE & sample.keys()}
        images = []
        for number in range(1, crops.local + 2):
            rng = np.random.default_rng([self.seed, position, number])
            part, colours = (crops.large, self.photometric) if number == 1 else (crops.small, crops.photometric)
            image = self._seen(sample, part(view, _hw(sample), rng), colours, rng)["image"]
            images.append(torch.from_numpy(np.ascontiguousarray(image)).movedim(-1, 0).contiguous())
        return {"other": images[0], "local": torch.stack(images[1:])}


def strayed(jitter: Jitter, sample: Sample, plain: View, rng: np.random.Generator) -> View:
    """A view that strays from the plain one and shows what the jitter asks for, or the last of ten."""
    view = jitter(plain, rng)
    for _ in range(VIEWS - 1):
        if _shows_enough(jitter, sample, view):
            break
        view = jitter(plain, rng)
    return view


def _shows_enough(jitter: Jitter, sample: Sample, view: View) -> bool:
    """Whether the view is not nearly all of one class and keeps enough of the known points."""
    if jitter.largest < 1 and "seg" in sample and largest_share(warp({"seg": sample["seg"]}, view)["seg"]) > jitter.largest:
        return False
    if jitter.fewest > 0 and "keypoints" in sample:
        there = int((sample["keypoints"][:, 2] > 0).sum())
        kept = int((warp({"keypoints": sample["keypoints"]}, view)["keypoints"][:, 2] > 0).sum())
        return kept >= min(jitter.fewest, there)
    return True


def largest_share(seg: np.ndarray) -> float:
    """The share of the commonest class among labelled pixels (H,W); 1 where nothing is labelled."""
    counts = np.bincount(seg.ravel(), minlength=256)[:255]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


def frame(sample: Sample, size: Size, framing: str) -> View:
    """The plain view of a sample: its person's box where boxes are asked for and there is one, else the whole picture."""
    if framing == "boxes" and np.isfinite(sample.get("box", np.nan)).all():
        return View.box(sample["box"], size)
    if framing not in ("whole", "boxes"):
        raise ValueError(f"there is no framing {framing!r}; choose whole or boxes")
    return View.whole(_hw(sample), size)


def _hw(sample: Sample) -> Size:
    return sample["image"].shape[0], sample["image"].shape[1]


def tensors(sample: Sample, unknown: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Arrays -> tensors; colours and vectors channels first; `unknown` stands in for fields that are not there."""
    out = {}
    for name, value in {**unknown, **sample}.items():
        first = np.moveaxis(value, -1, 0) if FIELDS[name].kind in ("colour", "vector") else value
        out[name] = torch.from_numpy(np.ascontiguousarray(first))
    return out
