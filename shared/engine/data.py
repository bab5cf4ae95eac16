"""From a config to data: what the tasks want of a sample, the training stream, the validation set."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.build import build
from shared.data.indexed import Indexed
from shared.data.mixture import Mixture
from shared.data.stream import Stream
from shared.data.view import Size
from shared.data.wanted import Wanted
from shared.task import Framing, Task


def wanted(tasks: Sequence[Task]) -> Wanted:
    """The fields that supervise these tasks, in their vocabularies."""
    also = {name: None for task in tasks for name in task.also}
    return Wanted(also | {task.field: task.vocabulary for task in tasks})


def framing(tasks: Sequence[Task], given: str | None = None) -> str:
    """As given; else boxes where every task wants boxes, else the whole picture."""
    return given or ("boxes" if tasks and all(task.framing is Framing.BOXES for task in tasks) else "whole")


def training(config: Mapping[str, Any], tasks: Sequence[Task], size: Size) -> Stream | Mixture:
    """The stream of `train`, changed as `jitter`, `backdrops` and `photometric` say; a mixture where its shards are data sets."""
    shards = config["train"]["shards"]
    mixed = isinstance(shards, list | tuple) and any(isinstance(entry, Mapping) for entry in shards)
    return (Mixture if mixed else Stream)(
        shards,
        size=size,
        wanted=wanted(tasks),
        framing=framing(tasks, config.get("framing")),
        jitter=build(config["jitter"]),
        backdrops=build(config["backdrops"]),
        photometric=build(config["photometric"]),
        seed=config["seed"],
    )


def plain_training(config: Mapping[str, Any], tasks: Sequence[Task], size: Size) -> Stream | Mixture:
    """The same samples as they are, for trivial answers."""
    return training({**config, "jitter": None, "backdrops": None, "photometric": None}, tasks, size)


def validation(config: Mapping[str, Any], tasks: Sequence[Task], size: Size, *, lenient: bool = False) -> Indexed | None:
    """The set of `val`, if the config names one; `lenient`: without the samples that are damaged."""
    if not tasks or config.get("val") is None:
        return None
    how = framing(tasks, config.get("framing"))
    return Indexed(
        config["val"]["shards"],
        size=size,
        wanted=wanted(tasks),
        framing=how,
        limit=config["val"].get("limit"),
        lenient=lenient,
    )
