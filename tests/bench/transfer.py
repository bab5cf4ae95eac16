"""Transfer to real photos, which lie beside the repository:  python tests/bench/transfer.py ours=runs/joint/model.safetensors

Points: the people of COCO's sample with labelled points; one is right when it is at most so many diagonals of the person's true box
off. Parts: the labelled photos of Clothing Co-Parsing, in five groups (transfer.toml); intersection over union over all pixels.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm
from transfer_pictures import draw_sheets
from transfer_scores import (
    GROUPS,
    all_background,
    confusion,
    distances,
    groups_of,
    in_boxes,
    ious,
    mean_pose,
    pck,
    placed,
)

from shared.data.photo import read_photo
from shared.data.shards import Shards
from shared.data.sources import ccp
from shared.data.view import Size, View
from shared.infer.predictor import Predictor
from shared.vocabulary import Vocabulary
from tasks.pose.task import SKELETONS

BESIDE = Path(__file__).parents[3] / "shared" / "images"
LIMITS = (0.2, 0.1, 0.05)  # of PCK, in diagonals of the person's box
COCO = Vocabulary.named("coco17", SKELETONS).names
TRAINING = 2000  # samples of the training data that the mean pose is taken from, at most
Rows = dict[str, float]


class People(NamedTuple):
    """Everybody in some photos who has labelled points.

    Attributes:
        photos: P paths.
        points: (P,17,3) x y px and above 0 where labelled.
        boxes: (P,4) x0 y0 x1 y1 px.
        left_out: how many had no labelled point.
    """

    photos: list[Path]
    points: np.ndarray
    boxes: np.ndarray
    left_out: int


def people_of(folder: Path) -> People:
    """Those of `test_coco.json`; its boxes are x y w h, counted from the corner of the first pixel."""
    told = json.loads((folder / "test_coco.json").read_text(encoding="utf-8"))
    (category,) = told["categories"]
    if tuple(category["keypoints"]) != COCO:
        raise ValueError(f"{folder / 'test_coco.json'} has other points than COCO: {', '.join(category['keypoints'])}")
    files = {image["id"]: folder / image["file_name"] for image in told["images"]}
    chosen = [someone for someone in told["annotations"] if any(someone["keypoints"][2::3])]
    xywh = np.array([someone["bbox"] for someone in chosen], float)
    boxes = np.c_[xywh[:, :2], xywh[:, :2] + xywh[:, 2:]] - 0.5
    points = np.array([someone["keypoints"] for someone in chosen], float).reshape(len(chosen), len(COCO), 3)
    return People([files[someone["image_id"]] for someone in chosen], points, boxes, len(told["annotations"]) - len(chosen))


def by_photo(people: People) -> dict[Path, np.ndarray]:
    """The boxes (n,4) of each photo."""
    return {photo: people.boxes[[other == photo for other in people.photos]] for photo in people.photos}


def pose_scores(answers: np.ndarray, people: People) -> Rows:
    """`pck 0.20` and so on, of (P,17,2) px."""
    off = distances(answers, people.points, people.boxes)
    return {f"pck {limit:.2f}": pck(off, limit) for limit in LIMITS}


def answered_points(predictor: Predictor, people: People) -> np.ndarray:
    """(P,17,2) px: the named points of everybody, each seen in their own true box.

    Raises:
        ValueError: the model has no such points.
    """
    names = _words(predictor, "pose").names
    if missing := [name for name in COCO if name not in names]:
        raise ValueError(f"this model has no {', '.join(missing)}; COCO's photos need all of its 17 points")
    alone, chosen = _only(predictor, "pose"), [names.index(name) for name in COCO]
    everybody = zip(people.photos, people.boxes)
    return np.stack([alone(read_photo(photo), boxes=box[None])["pose"][0, chosen, :2] for photo, box in everybody])


def without_looking(people: People, shards: Path | None) -> np.ndarray:
    """(P,17,2) px: the mean pose in everybody's box, from training data, or else from the other people."""
    if shards is not None:
        return placed(training_pose(shards), people.boxes)
    inside = in_boxes(people.points, people.boxes)
    return placed(np.stack([mean_pose(np.delete(inside, i, 0)) for i in range(len(inside))]), people.boxes)


def training_pose(folder: Path) -> np.ndarray:
    """(17,2): where COCO's points are in the boxes of the training data, on average."""
    shards = Shards(folder)
    names = shards.names.get("keypoints", [])
    if missing := [name for name in COCO if name not in names]:
        raise ValueError(f"{folder} has no {', '.join(missing)}; leave --shards out for the mean of the other people")
    chosen = [names.index(name) for name in COCO]
    found = [shards.read(i, only=("keypoints", "box")) for i in range(min(len(shards), TRAINING))]
    found = [sample for sample in found if "keypoints" in sample and np.isfinite(sample.get("box", np.nan)).all()]
    return mean_pose(in_boxes(np.stack([s["keypoints"][chosen] for s in found]), np.stack([s["box"] for s in found])))


def part_scores(predictor: Predictor, folder: Path, *, limit: int | None = None) -> tuple[dict[str, Rows], dict[str, Rows]]:
    """Scores of the model and of all background; for `whole`, the photo at once, and `box`, the person's true box.

    Args:
        predictor: of a model that answers seg.
        folder: of Clothing Co-Parsing.
        limit: the first so many photos only.
    """
    group, truths = groups_of(_words(predictor, "seg").names), groups_of(ccp.names(folder)["seg"])
    alone, count = _only(predictor, "seg"), len(ccp.photos(folder)[:limit])
    whole = boxed = np.zeros((len(GROUPS), len(GROUPS) + 1), np.int64)
    for _, (_, sample) in zip(tqdm(range(count), desc="parts", unit="photo", disable=None), ccp.samples(folder)):
        image, truth = read_photo(sample["image"]), truths[sample["seg"]]
        whole = whole + confusion(truth, group[alone(image)["seg"]])
        seen = window(box_of(truth), alone.size)
        answer = group[alone(cut(image, seen))["seg"]]
        boxed = boxed + confusion(truth, put_back(answer, seen, truth.shape))
    model = {"whole": ious(whole), "box": ious(boxed)}
    return model, dict.fromkeys(model, ious(all_background(whole)))


def box_of(groups: np.ndarray) -> np.ndarray:
    """x0 y0 x1 y1 px around all that is known and no background; the photo where there is no such thing."""
    rows, columns = ((groups > 0) & (groups != 255)).nonzero()
    if not rows.size:
        return np.array([-0.5, -0.5, groups.shape[1] - 0.5, groups.shape[0] - 0.5])
    return np.array([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])


def window(box: np.ndarray, size: Size) -> tuple[int, int, int, int]:
    """What a view of a box shows: left, top, right and bottom, whole pixels of the photo, partly outside of it."""
    corners = np.array([[-0.5, -0.5], [size[1] - 0.5, size[0] - 0.5]])
    (left, top), (right, bottom) = np.rint(View.box(box, size).to_source(corners) + 0.5).astype(int).tolist()
    return left, top, right, bottom


def cut(image: np.ndarray, seen: tuple[int, int, int, int]) -> np.ndarray:
    """The window of a picture, black outside: as training shows it."""
    left, top, right, bottom = seen
    canvas = np.zeros((bottom - top, right - left, *image.shape[2:]), image.dtype)
    inside, place = _overlap(seen, image.shape)
    canvas[place] = image[inside]
    return canvas


def put_back(answer: np.ndarray, seen: tuple[int, int, int, int], hw: tuple[int, ...]) -> np.ndarray:
    """A map of a window -> one of the picture, background where the window does not reach."""
    picture = np.zeros(hw, answer.dtype)
    inside, place = _overlap(seen, hw)
    picture[inside] = answer[place]
    return picture


def measure(models: Mapping[str, Path | None], photos: Path, *, shards: Path | None = None, device: str = "auto",
            limit: int | None = None, pictures: Path | None = None) -> dict[str, Rows]:  # fmt: skip
    """Scores by column, the models' and then `trivial`; a row that a model has no answer for is missing.

    Args:
        models: label -> checkpoint; None is the built-in one.
        photos: the folder with `coco` and `ccp`.
        shards: training data, for the mean pose.
        device: where the models run.
        limit: of the photos with parts, the first so many only.
        pictures: folder for sheets of pictures to look at; None: none are drawn.
    """
    people = people_of(photos / "coco")
    trivial: Rows = pose_scores(without_looking(people, shards), people)
    found: dict[str, Rows] = {}
    for label, path in models.items():
        predictor = Predictor.load(path, device=device)
        rows = found[label] = {}
        have = {task.name for task in predictor.tasks}
        if "pose" in have:
            rows |= pose_scores(answered_points(predictor, people), people)
        if "seg" in have:
            scores, without = part_scores(predictor, photos / "ccp", limit=limit)
            rows |= _flat(scores)
            trivial |= _flat(without)
        if pictures is not None:
            draw_sheets(predictor, photos, pictures / label, boxes=by_photo(people))
    return {**found, "trivial": trivial}


def table(found: Mapping[str, Rows]) -> str:
    """A line for each score, a column for each model."""
    rows = list(dict.fromkeys(name for column in found.values() for name in column))
    wide = max(10, *(len(label) + 2 for label in found))
    lines = [f"{'':<18}" + "".join(f"{label:>{wide}}" for label in found)]
    for name in rows:
        values = (f"{column[name]:.3f}" if name in column else "-" for column in found.values())
        lines.append(f"{name:<18}" + "".join(f"{value:>{wide}}" for value in values))
    return "\n".join(lines)


def report(models: Mapping[str, Path | None], photos: Path, *, shards: Path | None = None, limit: int | None = None,
           **options: Any) -> dict[str, Rows]:  # fmt: skip
    """`measure`, and print what was measured and the table."""
    found = measure(models, photos, shards=shards, limit=limit, **options)
    people, count = people_of(photos / "coco"), len(ccp.photos(photos / "ccp")[:limit])
    labelled = int((people.points[..., 2] > 0).sum())
    print(f"pck: share of {labelled} labelled points of {len(people.photos)} people ({people.left_out} more have none) within that "
          f"many diagonals of the true box, which the model is given; trivial: the mean pose of {shards or 'the other people'}\n"
          f"whole, box: intersection over union on {count} photos seen whole, or in the person's true box; trivial: background\n\n"
          f"{table(found)}", flush=True)  # fmt: skip
    return found


def _flat(scores: Mapping[str, Rows]) -> Rows:
    return {f"{how} {name}": value for how, rows in scores.items() for name, value in rows.items()}


def _words(predictor: Predictor, name: str) -> Vocabulary:
    (words,) = [task.vocabulary for task in predictor.tasks if task.name == name]
    assert words is not None
    return words


def _only(predictor: Predictor, name: str) -> Predictor:
    """The same model asked for one answer."""
    return Predictor(predictor.model, size=predictor.size, device=predictor.device, only=[name])


def _overlap(seen: tuple[int, int, int, int], hw: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a window and a picture meet, in the pixels of the picture and in those of the window."""
    left, top, right, bottom = seen
    x, y = (max(left, 0), min(right, hw[1])), (max(top, 0), min(bottom, hw[0]))
    return (slice(*y), slice(*x)), (slice(y[0] - top, y[1] - top), slice(x[0] - left, x[1] - left))


def labelled(text: str) -> tuple[str, Path]:
    """`label=file`; a file alone is called after its folder."""
    label, equals, file = text.partition("=")
    return (label, Path(file)) if equals else (Path(text).parent.name, Path(text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*", metavar="LABEL=FILE", help="checkpoints, one column each (default: the built-in model)")
    parser.add_argument(
        "--photos", type=Path, default=BESIDE, metavar="DIR", help="folder with coco and ccp (default: %(default)s)"
    )
    parser.add_argument("--shards", type=Path, metavar="DIR", help="training data: its mean pose is the trivial answer then")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write sheets of answers for looking at, too")
    parser.add_argument("--limit", type=int, metavar="N", help="score parts on the first N photos only")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    told = parser.parse_args()
    named = [labelled(text) for text in told.model]
    models = dict(named) or {"builtin": None}
    if len(models) < len(named):
        parser.error("two models have one label; give each its own: label=file")
    options = {"shards": told.shards, "device": told.device, "limit": told.limit, "pictures": told.pictures}
    try:
        report(models, told.photos, **options)
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
