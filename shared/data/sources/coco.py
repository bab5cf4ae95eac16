"""People with keypoints, annotated in the form of COCO, one sample per person.

    {"images": [{"id": 785, "file_name": "000000000785.jpg", "width": 640, "height": 425}, ...],
     "annotations": [{"id": 442619, "image_id": 785, "bbox": [x, y, width, height], "keypoints": [x, y, v, ...],
                      "area": 27789.1, "iscrowd": 0}, ...],
     "categories": [{"id": 1, "name": "person", "keypoints": ["nose", ...]}]}

`width`, `height`, `bbox`, `area`, `iscrowd` may be absent; a box is then put around the points. v is 0 where a point is not
labelled, which makes it unknown; 1 (hidden, its place was guessed) and 2 (seen) both say where it is. COCO's boxes count from
the picture's outer edge, ours from the middle of the first pixel: they differ by half a pixel. K is the number of points.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from shared.data.photo import UnreadablePhoto, photo_size, read_photo
from shared.data.sources.conventions import CONVENTIONS, Convention
from shared.data.sources.folder import photo
from shared.data.sources.source import PHOTO, Command, Report, Source, unique

CROWD, NO_POINTS = "it is a crowd", "none of its points is labelled"  # no faults of the data set: COCO has many of both


class Person(NamedTuple):
    """One annotation that can be used."""

    id: Any
    points: np.ndarray  # (K,3) x px, y px, 1 known or 0
    box: np.ndarray  # (4,) x0 y0 x1 y1 px, outer edges
    area: float | None  # px, of the person's outline, as the annotation says


class Picture(NamedTuple):
    """A photo and the people in it that can be used."""

    name: str  # as the annotations call it
    id: Any
    hw: tuple[int, int] | None  # as the annotations say
    people: list[Person]


def names(annotations: Mapping[str, Any], convention: Convention) -> list[str]:
    """What the K points are called.

    Raises:
        ValueError: neither the convention nor the file names them.
    """
    if convention.names is not None:
        return list(convention.names)
    for category in annotations.get("categories") or []:
        found = category.get("keypoints") if isinstance(category, dict) else None
        if isinstance(found, list) and found and all(isinstance(name, str) for name in found):
            return found
    raise ValueError(
        'the annotations name no points; write "categories": [{"id": 1, "name": "person", "keypoints": ["nose", ...]}]'
    )


def load(path: Path) -> dict[str, Any]:
    """The annotation file, its outermost form checked.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no JSON, or not of the form above.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no annotation file {path}; check the path") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; the annotation file stands first, the folder of the photos after it") from None
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON: {error}; download it again") from error
    for key in ("images", "annotations"):
        rows = found.get(key) if isinstance(found, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{path} has no list of {key}; it should be in the form of COCO, see shared/data/sources/coco.py")
    return found


def pictures(annotations: Mapping[str, Any], convention: Convention, report: Report) -> list[Picture]:
    """The photos with at least one usable person, in the order of the file; `report` hears of everybody else."""
    count = len(names(annotations, convention))
    found = {str(row.get("id")): Picture(str(row.get("file_name")), row.get("id"), _size(row), []) for row in annotations["images"]}
    for row in annotations["annotations"]:
        picture = found.get(str(row.get("image_id")))
        place = picture.name if picture else f"image {row.get('image_id')}"
        called = f"person {row.get('id')} of {place}"
        try:
            if picture is None:
                raise ValueError("its image is not in the file")
            picture.people.append(_person(row, convention.keys, count, picture.hw))
        except ValueError as error:
            reason = str(error)
            report.reasons[reason] += 1
            if reason in (CROWD, NO_POINTS):
                report.passed_over.append(f"{called}: {reason}")
            else:
                report.faults.append((Path(place), f"{called}: {reason}"))
    return [picture for picture in found.values() if picture.people]


def samples(
    found: Sequence[Picture], images: Path, report: Report, *, crop: float | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (key, {"image", "keypoints", "box", "facts"}) for every person; the key is photo/annotation.

    Args:
        found: from `pictures`.
        images: folder of the photos.
        report: hears of photos that cannot be read and of people outside theirs.
        crop: None: each sample holds the whole photo, its own JPEG bytes where they will do; else the part of it within the
            person's box grown by this factor, compressed anew.
    """
    taken: set[str] = set()
    for picture in found:
        path = Path(images) / picture.name
        try:
            content = photo(path) if crop is None else read_photo(path)
            hw = photo_size(path)
            _same_size(path, hw, picture.hw)
        except UnreadablePhoto as error:
            report.faults.append((path, f"{len(picture.people)} people are lost: {error}"))
            report.reasons[PHOTO] += len(picture.people)
            continue
        for person in picture.people:
            try:
                box = _clipped(person.box, hw)
            except ValueError as error:
                report.faults.append((path, f"person {person.id} of {picture.name}: {error}"))
                report.reasons[str(error)] += 1
                continue
            sample = {"image": content, "keypoints": person.points, "box": box}
            offset = (0, 0)
            if crop is not None:
                sample, offset = _cut(sample, crop)
            told = {"photo": picture.name, "image_id": picture.id, "annotation_id": person.id, "area": person.area}
            yield _key(picture.name, person.id, taken), sample | {"facts": {"coco": told | {"offset": list(offset)}}}


def _person(row: Mapping[str, Any], keys: Sequence[str], count: int, hw: tuple[int, int] | None) -> Person:
    """One annotation.

    Raises:
        ValueError: the reason why it cannot be used.
    """
    if row.get("iscrowd"):
        raise ValueError(CROWD)
    points, area = _points(row, keys, count), row.get("area")
    xy = points[points[:, 2] > 0, :2]
    box = _box(row["bbox"]) if row.get("bbox") is not None else np.r_[xy.min(0) - 0.5, xy.max(0) + 0.5]
    told = float(area) if isinstance(area, int | float) and np.isfinite(area) and area > 0 else None
    return Person(row.get("id"), points, box if hw is None else _clipped(box, hw), told)


def _points(row: Mapping[str, Any], keys: Sequence[str], count: int) -> np.ndarray:
    """(K,3) float32: x px, y px, 1 known or 0."""
    try:
        numbers = np.concatenate([np.asarray(row.get(key, []), np.float64).ravel() for key in keys])
    except (TypeError, ValueError):
        raise ValueError("its points are no list of numbers") from None
    if numbers.size != 3 * count:
        raise ValueError(f"it has {numbers.size} numbers where {count} points have {3 * count}")
    points = numbers.reshape(count, 3)
    known = points[:, 2] > 0
    if np.isnan(points[:, 2]).any() or not np.isfinite(points[known]).all():
        raise ValueError("its points are not finite")
    if not known.any():
        raise ValueError(NO_POINTS)
    return np.where(known[:, None], np.c_[points[:, :2], known], 0).astype(np.float32)


def _box(xywh: Any) -> np.ndarray:
    """COCO's x, y, width, height -> our outer edges."""
    try:
        x, y, w, h = (float(number) for number in xywh)
    except (TypeError, ValueError):
        raise ValueError("its box is not four numbers") from None
    if not np.isfinite([x, y, w, h]).all():
        raise ValueError("its box is not finite")
    return np.array([x, y, x + w, y + h]) - 0.5


def _clipped(box: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """The part of a box that lies in the picture: (4,) float32."""
    x0, y0, x1, y1 = np.r_[np.maximum(box[:2], -0.5), np.minimum(box[2:], np.array(hw[::-1]) - 0.5)]
    if x1 <= x0 or y1 <= y0:
        raise ValueError("its box is empty" if (box[2:] <= box[:2]).any() else "its box lies outside the picture")
    if x1 - x0 <= 1 or y1 - y0 <= 1:
        raise ValueError("its box is not wider and higher than a pixel")
    return np.array([x0, y0, x1, y1], np.float32)


def _cut(sample: dict[str, Any], factor: float) -> tuple[dict[str, Any], tuple[int, int]]:
    """The sample within its box grown by `factor`, to whole pixels, and where its first pixel was: x, y."""
    (x0, y0, x1, y1), (h, w) = sample["box"].astype(float), sample["image"].shape[:2]
    reach = (factor - 1) / 2 * max(x1 - x0, y1 - y0)  # the longer side decides: views of the network have their own aspect
    left, top = max(0, int(np.floor(x0 - reach + 0.5))), max(0, int(np.floor(y0 - reach + 0.5)))
    right, bottom = min(w, int(np.ceil(x1 + reach + 0.5))), min(h, int(np.ceil(y1 + reach + 0.5)))
    known = sample["keypoints"][:, 2:]
    moved = {
        "image": np.ascontiguousarray(sample["image"][top:bottom, left:right]),
        "keypoints": (sample["keypoints"] - np.array([left, top, 0], np.float32)) * (known > 0),
        "box": sample["box"] - np.array([left, top, left, top], np.float32),
    }
    return moved, (left, top)


def _size(row: Mapping[str, Any]) -> tuple[int, int] | None:
    h, w = row.get("height"), row.get("width")
    return (h, w) if isinstance(h, int) and isinstance(w, int) and h > 0 and w > 0 else None


def _same_size(path: Path, found: tuple[int, int], told: tuple[int, int] | None) -> None:
    if told is not None and found != told:
        raise UnreadablePhoto(f"{path} is {found}, but its annotations are for {told} (height, width); fetch the right photo")


def _key(name: str, number: Any, taken: set[str]) -> str:
    """A key that names photo and annotation, and is nobody else's."""
    parts = [part.replace(".", "_") for part in Path(name).with_suffix("").parts if part not in ("/", "..")]
    return unique("/".join([*parts, str(number).replace(".", "_").replace("/", "_")]), taken)


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument("annotations", type=Path, metavar="ANN", help="JSON in the form of COCO")
    command.add_argument("images", type=Path, metavar="IMAGES", help="folder of the photos that ANN names")
    command.add_argument(
        "--crop", type=_factor, metavar="F", help="keep of each photo what lies in the person's box grown by F (2.5 is ample)"
    )


def _factor(text: str) -> float:
    value = float(text)
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} would cut the person; give a factor of at least 1")
    return value


def _source(convention: Convention, options: argparse.Namespace, report: Report) -> Source:
    annotations = load(options.annotations)
    words = names(annotations, convention)
    found = pictures(annotations, convention, report)
    if not options.images.is_dir():
        raise FileNotFoundError(f"there is no folder of photos {options.images}; check the path")
    people = samples(found, options.images, report, crop=options.crop)
    return Source(people, {"keypoints": words}, sum(len(picture.people) for picture in found))


COMMANDS = tuple(
    Command(
        name,
        f"Pack people annotated with {convention.about}; one sample per person.",
        f"annotations.json photos/ --out data/{name}",
        _options,
        partial(_source, convention),
    )
    for name, convention in CONVENTIONS.items()
)
