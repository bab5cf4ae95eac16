"""How much a backbone knows before anybody fine-tunes it: what the nearest patches and a linear map read out of its features.

A backbone that stands still looks at whole labelled pictures. The part that a patch shows is voted by the nearest patches of other
photos (Caron et al. 2021); parts, depth within a person and normals are read out by a ridge regression that is fitted to four
fifths of the photos and asked about the others, in turn. Nothing is tuned and nothing is drawn at random, so that two backbones, or
one at two times, can be compared.
"""

import json
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from shared.data.fields import warp
from shared.data.indexed import Indexed
from shared.data.patches import LABELS, UNKNOWN, labelled
from shared.data.view import Size
from shared.data.wanted import Wanted
from shared.engine.readout import FOLDS, explained, linear, overlap, turned_by, vote
from shared.engine.session import Session
from shared.weights import partial

log = logging.getLogger(__name__)
PICTURES, PATCHES = 200, 200  # looked at, and kept of each: 160 MB of features 1024 wide
SETTINGS = ("shards", "every", "pictures", "patches")
See = Callable[[Tensor], Tensor]  # uint8 RGB (1,3,H,W) -> features (1,D,h,w)
Scores = dict[str, float]


class Seen(NamedTuple):
    """Some patches of one picture."""

    index: int
    photo: int  # equal for pictures of the same photo
    features: Tensor  # (n,D) float32
    labels: dict[str, Tensor]  # of LABELS, (n,...)


class Probe:
    """Scores of features on labelled pictures.

    Args:
        shards: folder, brace pattern or list; they hold some of `seg`, `depth`, `normal`.
        size: (H,W) of the backbone's input, a multiple of the stride.
        stride: of the backbone, pixels.
        framing: `whole` or `boxes`.
        every: iterations, a multiple of those between validations; None: at each of them. The last one always.
        pictures: how many are looked at, evenly spread over the shards.
        patches: how many are kept of each picture, at most; always the same ones.

    Raises:
        ValueError: the shards hold no labels, or the numbers mean nothing.
    """

    def __init__(
        self,
        shards: str | Path | Sequence[str | Path],
        *,
        size: Size,
        stride: int,
        framing: str = "whole",
        every: int | None = None,
        pictures: int = PICTURES,
        patches: int = PATCHES,
    ) -> None:
        if pictures < 2 or patches < 1:
            raise ValueError(f"a probe of {pictures} pictures and {patches} patches of each sees nothing; take 2 and 1 at least")
        if size[0] % stride or size[1] % stride:
            raise ValueError(f"pictures of {size[0]} x {size[1]} are no multiple of the backbone's stride ({stride})")
        self.stride, self.every, self.patches = stride, every, patches
        wanted = Wanted(dict.fromkeys(LABELS), optional=LABELS)
        self.data = Indexed(shards, size=size, wanted=wanted, framing=framing, lenient=True)
        self.fields = [name for name in LABELS if name in wanted.found_in(self.data.shards)]
        if not self.fields:
            raise ValueError(f"the shards of the probe ({shards}) hold none of {', '.join(LABELS)}; name labelled ones")
        self.classes = len(self.data.shards.names.get("seg", ())) or UNKNOWN
        if len(self.data) < 2:
            raise ValueError(f"the probe compares pictures, and its shards ({shards}) hold {len(self.data)}; give it more")
        self.indices: list[int] = np.linspace(0, len(self.data) - 1, min(pictures, len(self.data))).astype(int).tolist()

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None, *, val_every: int, **options: Any) -> "Probe | None":
        """As a config has it, or None; refuses what is no setting, and moments at which nothing is validated."""
        if settings is None:
            return None
        if not isinstance(settings, Mapping) or "shards" not in settings or set(settings) - set(SETTINGS):
            raise ValueError(
                f"probe={settings!r} is no probe; give {{'shards': ...}}, and of {', '.join(SETTINGS[1:])} what you want"
            )
        every = settings.get("every")
        if every is not None and (every < 1 or not val_every or every % val_every):
            raise ValueError(
                f"probe.every={every} is no multiple of val_every={val_every}, and the probe looks when pictures are validated or "
                "drawn; change one of them, or leave probe.every out"
            )
        return cls(**settings, **options)

    def at(self, iteration: int, last: int, *, model: Any, here: Session, dtype: torch.dtype | None, folder: Path) -> Scores:
        """The scores of a model in training after so many of all iterations, if it is time, and a line of `probe.jsonl`."""
        if self.every is not None and iteration % self.every and iteration != last:
            return {}
        with _still(model):
            found, trivial = self.scores(eyes(model), here, dtype=dtype)
        if found:
            record(folder / "probe.jsonl", iteration, found, trivial)
        return found

    def scores(self, see: See, here: Session, *, dtype: torch.dtype | None = None) -> tuple[Scores, Scores]:
        """Of these features, and of answers that do not look, `<reader>/<field>_<score>`; none but in the first process.

        They depend neither on the number of processes nor on any batch: pictures go through one by one.
        """
        seen = _gathered(list(self._look(see, here, dtype)), here)
        if not here.first:
            return {}, {}
        if not seen or not all(one.features.isfinite().all() for one in seen):
            log.warning(
                "the probe scores nothing: %s", "the features are not finite" if seen else "all of its pictures are damaged"
            )
            return {}, {}
        order = {photo: number for number, photo in enumerate(dict.fromkeys(one.photo for one in seen))}
        found: Scores = {}
        trivial: Scores = {}
        for field in self.fields:
            labels = torch.cat([one.labels[field] for one in seen]).to(here.device)
            features = torch.cat([one.features for one in seen]).to(here.device)
            known = _known(field, labels)
            photo = torch.cat([torch.full((len(one.features),), order[one.photo]) for one in seen]).to(here.device)
            photos, photo = photo[known].unique(return_inverse=True)  # numbered anew: folds are shares of those that are known
            if len(photos) < 2:
                log.warning("%s is known in less than two photos of the probe, so that nothing of it is scored", field)
                continue
            with torch.inference_mode():
                of = {"seg": self._parts, "depth": _depth, "normal": _normals}[field]
                looking, not_looking = of(features[known], labels[known], photo)
            found, trivial = found | looking, trivial | not_looking
        return found, trivial

    @torch.inference_mode()
    def _look(self, see: See, here: Session, dtype: torch.dtype | None) -> Iterator[Seen]:
        """This process's share of the pictures."""
        for item in self.data.readable(self.indices[here.rank :: here.processes]):
            maps = warp({name: item.truth[name].numpy() for name in self.fields}, item.view)
            labels = {name: torch.from_numpy(value).flatten(0, 1) for name, value in labelled(maps, self.stride).items()}
            known = torch.stack([_known(name, label) for name, label in labels.items()]).any(0).nonzero()[:, 0]
            drawn = torch.randperm(len(known), generator=torch.Generator().manual_seed(item.index))[: self.patches]
            chosen = known[drawn.sort().values]
            with torch.autocast(here.device.type, dtype, enabled=dtype is not None):
                features = see(item.image[None].to(here.device))[0].flatten(1).T
            photo = zlib.crc32(item.source.tobytes())
            rows = features[chosen.to(features.device)].float().cpu()
            yield Seen(item.index, photo, rows, {name: label[chosen] for name, label in labels.items()})

    def _parts(self, features: Tensor, labels: Tensor, photo: Tensor) -> tuple[Scores, Scores]:
        truth = labels.long()
        often = torch.bincount(truth, minlength=self.classes).argmax().expand_as(truth)
        drawn = linear(features, F.one_hot(truth, self.classes), photo % FOLDS).argmax(1)
        voted = vote(features, truth, photo, classes=self.classes)
        found, trivial = (
            {
                f"{reader}/seg_{name}": value
                for reader, answer in answers.items()
                for name, value in overlap(answer, truth, classes=self.classes).items()
            }
            for answers in ({"knn": voted, "linear": drawn}, {"knn": often, "linear": often})
        )
        return found, trivial


def _depth(features: Tensor, labels: Tensor, photo: Tensor) -> tuple[Scores, Scores]:
    answer = linear(features, labels[:, None], photo % FOLDS)[:, 0]
    return {"linear/depth_r2": explained(answer, labels)}, {"linear/depth_r2": 0.0}


def _normals(features: Tensor, labels: Tensor, photo: Tensor) -> tuple[Scores, Scores]:
    answers = (linear(features, labels, photo % FOLDS), labels.double().mean(0).expand(len(labels), 3))
    found, trivial = ({"linear/normal_deg": turned_by(answer, labels)} for answer in answers)
    return found, trivial


def _known(field: str, labels: Tensor) -> Tensor:
    """(N,...) -> (N,) bool."""
    return labels != UNKNOWN if field == "seg" else labels.isfinite().view(len(labels), -1).all(1)


def _gathered(seen: list[Seen], here: Session) -> list[Seen]:
    """What all processes saw, in the order of the pictures; nothing but in the first one."""
    if here.processes == 1:
        return seen
    parts: list[Any] | None = [None] * here.processes if here.first else None
    dist.gather_object(seen, parts)
    return sorted((one for part in parts or () for one in part), key=lambda one: one.index)


@contextmanager
def _still(model: nn.Module) -> Iterator[None]:
    """In evaluation mode while inside; afterwards each part is as it was."""
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def eyes(model: Any) -> See:
    """The features of a model that has `normalise` and a `backbone`."""
    return lambda image: model.backbone(model.normalise(image))


def record(path: Path, iteration: int, scores: Mapping[str, float], trivial: Mapping[str, float]) -> None:
    """Put a JSON line behind those of earlier iterations; later ones are of a run that ended before its state was saved."""
    lines = path.read_text().splitlines() if path.is_file() else []
    lines = [line for line in lines if json.loads(line)["iteration"] < iteration]
    lines.append(json.dumps({"iteration": iteration, "scores": scores, "not looking": trivial}))
    with partial(path) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n")
