"""COCO's own scores of keypoints, from an annotation file and written answers.

    python -m tasks.pose.official boxes person_keypoints_val2017.json --out boxes.json
    python tasks/pose/infer.py val2017/ --checkpoint model.safetensors --people boxes.json --out answers
    python -m tasks.pose.official score person_keypoints_val2017.json answers
    python -m tasks.pose.official score coco_wholebody_val_v1.0.json answers --data coco-wholebody

ANSWERS is what infer.py wrote, of a model of any convention, or results in the form of COCO. Needs faster-coco-eval (extra `coco`).
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.data.sources import coco
from shared.data.sources.conventions import CONVENTIONS
from shared.vocabulary import Vocabulary
from tasks.pose.answers import score
from tasks.pose.measures import parts
from tasks.pose.task import SKELETONS

TABLES = {"coco": "coco17", "coco-wholebody": "wholebody133", "ochuman": "coco17"}  # data whose tables have sigmas
SCORES = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar", "ar50", "ar75", "ar_medium", "ar_large")  # as COCO prints them
Rows = list[dict[str, Any]]


def evaluate(truth: Mapping[str, Any], answers: Sequence[Mapping[str, Any]], *, data: str = "coco") -> dict[str, float]:
    """AP and AR of keypoints by COCO's rules, of all points (`ap`, ...) and of each part of the table (`face_ap`, ...).

    A person without a labelled point of a part, and a crowd, is neither found nor missed there, as in COCO-WholeBody's code.
    A score is NaN where nobody is of its size.

    Args:
        truth: annotations in the form of COCO, crowds and people without points included.
        answers: rows with `image_id`, `keypoints` (3K numbers, in the order of the convention) and `score`.
        data: convention of both, a key of TABLES.

    Raises:
        ValueError: an annotation or an answer is not so many finite numbers.
    """
    words = Vocabulary.named(TABLES[data], SKELETONS)
    people = [_person(row, CONVENTIONS[data].keys, len(words)) for row in truth["annotations"]]
    for row in answers:
        _numbers([*row["keypoints"], row["score"]], f"an answer for image {row['image_id']}", 3 * len(words) + 1)
    images = [{"id": row["id"]} for row in truth["images"]]
    everything = {"": list(range(len(words)))} | {f"{name}_": ids for name, ids in parts(words).items()}
    scores = {}
    for prefix, ids in everything.items():
        found = _evaluate(images, _only(people, ids), _only(answers, ids), np.array(words.sigmas)[ids])
        scores |= {prefix + name: float(value) if value >= 0 else float("nan") for name, value in zip(SCORES, found)}
    return scores


def _person(row: Mapping[str, Any], keys: Sequence[str], count: int) -> dict[str, Any]:
    """An annotation with the points of all its parts end to end."""
    called = f"annotation {row.get('id')}"
    numbers = _numbers([number for key in keys for number in row.get(key, [])], called, 3 * count, points=True)
    *_, w, h = _numbers(row.get("bbox"), f"the bbox of {called}", 4)
    area = row["area"] if "area" in row else 0.53 * w * h  # the rule of CrowdPose for data without outlines
    _numbers([area], f"the area of {called}", 1)
    kept = {key: row[key] for key in ("id", "image_id", "bbox")}
    return kept | {"iscrowd": row.get("iscrowd", 0), "area": area, "keypoints": numbers.tolist()}


def _numbers(found: Any, what: str, count: int, *, points: bool = False) -> np.ndarray:
    """(count,) float64; of `points` those without a label may be anything, and are 0.

    Raises:
        ValueError: there are more or fewer of them, or some are none.
    """
    try:
        numbers = np.array(found, float)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape != (count,):
        told = f"{numbers.size} numbers" if numbers.ndim == 1 and numbers.size else "no list of numbers"
        raise ValueError(f"{what} has {told} where {count} belong; correct it, or leave it out of the file")
    if points:
        numbers.reshape(-1, 3)[numbers[2::3] == 0] = 0
    if not np.isfinite(numbers).all():
        raise ValueError(f"{what} holds numbers that are not finite; correct it, or leave it out of the file")
    return numbers


def _only(rows: Sequence[Mapping[str, Any]], ids: Sequence[int]) -> Rows:
    """The rows with these points alone."""
    out = []
    for row in rows:
        points = np.asarray(row["keypoints"], float).reshape(-1, 3)[ids]
        out.append({**row, "category_id": 1, "keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum())})
    return out


def _evaluate(images: Rows, truth: Rows, answers: Rows, sigmas: np.ndarray) -> Sequence[float]:
    """The ten numbers of COCO's summary; -1 where nobody counts."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster  # here because only these scores need it
    except ImportError as error:
        raise ValueError("COCO's scores need faster-coco-eval; pip install 'vitruvian[coco]'") from error
    if not answers:
        counted = any(row["num_keypoints"] and not row["iscrowd"] for row in truth)
        return [0.0 if counted else -1.0] * len(SCORES)
    told = COCO({"images": images, "annotations": truth, "categories": [{"id": 1, "name": "person"}]})
    judge = COCOeval_faster(told, told.loadRes(answers), "keypoints", kpt_oks_sigmas=sigmas.tolist(), print_function=_silent)
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return judge.stats


def _silent(*_: object, **__: object) -> None:
    """Print nothing."""


def read_answers(path: Path, truth: Mapping[str, Any], *, data: str = "coco") -> tuple[Rows, int]:
    """Answers in the convention of the data, and how many images have none.

    Args:
        path: results in the form of COCO, or the folder where infer.py left `<photo>.pose.json`.
        truth: the annotations, which name the photos.
        data: convention to write the answers in.

    Raises:
        ValueError: nothing there, or no answers.
    """
    if path.is_dir():
        words = Vocabulary.named(TABLES[data], SKELETONS)
        rows, absent = [], 0
        for image in truth["images"]:
            file = path / f"{Path(image['file_name']).stem}.pose.json"
            absent += not file.is_file()
            rows += _people(json.loads(file.read_text()), image["id"], words) if file.is_file() else []
        if absent == len(truth["images"]):
            raise ValueError(f"{path} holds no answer for any image; its files should be called <photo>.pose.json")
        return rows, absent
    try:
        rows = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no file of results ({error}); give a folder of answers, or COCO's form of results") from error
    needed = {"image_id", "keypoints", "score"}
    if not isinstance(rows, list) or not all(isinstance(row, dict) and needed <= row.keys() for row in rows):
        raise ValueError(f"{path} holds no results in the form of COCO: a list of {{image_id, keypoints, score}}")
    return rows, len({row["id"] for row in truth["images"]} - {row["image_id"] for row in rows})


def _people(answer: Mapping[str, Any], image: Any, words: Vocabulary) -> Rows:
    """The people of one answer file."""
    rows = []
    for person in answer["people"]:
        points = words.rewrite(np.asarray(person["keypoints"], float), answer["keypoint_names"])
        sure = score(points, person.get("bbox_score", 1.0))
        rows.append({"image_id": image, "keypoints": points.ravel().tolist(), "score": sure})
    return rows


def boxes(truth: Mapping[str, Any], *, data: str = "coco") -> dict[str, list[list[float]]]:
    """Photo -> boxes of the annotated people with points, as `infer.py --people` reads them."""
    found = coco.pictures(truth, CONVENTIONS[data], coco.Report())
    return {Path(picture.name).name: [person.box.astype(float).round(3).tolist() for person in picture.people] for picture in found}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: 0 done, 2 with a sentence where it cannot start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("boxes", "write the annotated people's boxes"), ("score", "score answers")):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("annotations", type=Path, metavar="ANN", help="in the form of COCO")
        command.add_argument("--data", default="coco", choices=sorted(TABLES), help="convention of ANN (default: %(default)s)")
    commands.choices["boxes"].add_argument("--out", type=Path, required=True, metavar="FILE")
    commands.choices["score"].add_argument("answers", type=Path, metavar="ANSWERS", help="folder of infer.py, or COCO results")
    commands.choices["score"].add_argument("--json", type=Path, metavar="FILE", help="write the scores there too")
    options = parser.parse_args(arguments)
    try:
        truth = coco.load(options.annotations)
        if options.command == "boxes":
            found = boxes(truth, data=options.data)
            options.out.write_text(json.dumps(found))
            sys.stderr.write(f"boxes of {sum(map(len, found.values()))} people in {len(found)} photos, in {options.out}\n")
            return 0
        answers, absent = read_answers(options.answers, truth, data=options.data)
        scores = evaluate(truth, answers, data=options.data)
        if options.json:
            options.json.write_text(json.dumps(scores, indent=1))
    except (ValueError, OSError, KeyError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 2
    lines = [f"{name:<22}{value:>9.4f}\n" for name, value in scores.items()]
    told = f"{len(answers)} people answered; {absent} of {len(truth['images'])} images have no answer\n"
    sys.stdout.write("".join(lines) + told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
